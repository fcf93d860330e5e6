"""The page for browsers: its routes and the files that they serve.

Input: GET requests for the page, its files, a finished analysis, the catalogue's pictures, the documentation.
Output: HTML, files and JSON. An analysis is shown only to those who may read it, and nothing is changed here.
`client` is the JavaScript client's npm package, which the page uses as well.
"""
