//! Usage and histories, folded from the events.
