//! Answers people: search, alerts and the web page
