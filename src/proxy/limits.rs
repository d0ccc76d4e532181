//! How much a client may send before its request is refused: numbers with their reasons.

/// Limits of a request.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of the request target.
    pub(crate) uri: usize,
    /// Bytes of one field: name, value and what stands around them on a line.
    pub(crate) header: usize,
    /// Bytes of all fields.
    pub(crate) headers: usize,
    /// How many fields.
    pub(crate) header_count: usize,
    /// How many addresses X-Forwarded-For may name.
    pub(crate) forwarded_for: usize,
    /// Bytes of the body.
    pub(crate) body: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uri: 16 * 1024,
            header: 16 * 1024,
            headers: 64 * 1024,
            header_count: 256,
            forwarded_for: 30,
            body: None,
        }
    }
}
