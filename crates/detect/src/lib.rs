//! Rules over the stream: Sigma and thresholds, findings out
