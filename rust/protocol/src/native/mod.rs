//! Readers and writers of the data plane's APIs, one file per API, over slices of the frame.
