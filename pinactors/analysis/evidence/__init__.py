"""Evidence for and against authenticity: measurements, their log-likelihood ratios, the verdict.

Comes in: prepared views, the stamp's reading and the match. Goes out: `AuthenticationResult`.
`fitting` and `comparison` register a photograph on its catalogue picture; one module measures a family of
rows; `likelihood` alone turns measurements into weights; `verdict` adds them up.
"""
