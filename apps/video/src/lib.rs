//! The host half of the video client.
