// Sliding windows narrow the spans: token m sees the WINDOW tokens up to itself, at most. Both functions never decrease
// where the spans do not, and change nothing where WINDOW is the largest u32.
fn first_seen(start: u32, m: u32) -> u32 { return max(start, m + 1u - min(WINDOW, m + 1u)); }
fn past_seeing(end: u32, n: u32) -> u32 { return n + min(WINDOW, end - n); }
