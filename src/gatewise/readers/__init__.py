"""Read files, frames and arrays as sequences."""
