//! How settings are read: layers, units, secrets, errors with line and column
