//! http.client and urllib of Python's own library.
