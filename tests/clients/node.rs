//! http with an agent, fetch, and WebSocket of Node's own.
