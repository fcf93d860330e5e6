"""Evidence for and against authenticity: measurements, their log-likelihood ratios, the verdict.

Input: prepared views, the stamp's reading and the match. Output: `AuthenticationResult`. `fitting` and
`comparison` register a photograph on its catalogue picture; each of the other modules measures a family of
rows; only `likelihood` turns measurements into weights; `verdict` adds them up.
"""
