"""The HTTP interface: Quart routes on top of the pipeline. The package is thin: it translates requests and
responses, and the lower layers do the work.

`http` has the connections, `uploads` the parsers of bodies that arrive, `streams` readers and framings,
`proxy` the streaming proxy, `page` the page, `admin` the operator's routes, `openapi` the description of the
interface, `housekeeping` what runs beside the requests. `server` runs everything; the command line enters
through `launch` only.
"""
