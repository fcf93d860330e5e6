"""The HTTP side: Quart routes over the pipeline. Thin: what a request means is decided below.

`http` is one connection, `uploads` bodies as they arrive, `streams` readers and framings, `proxy` the
streaming proxy, `page` the page. `server` runs it all; the command line enters here through `server` and
`proxy.app` only.
"""
