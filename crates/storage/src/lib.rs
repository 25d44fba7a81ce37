//! Where bundles lie: an object store and its local view
