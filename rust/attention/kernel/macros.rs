//! The loop that every pass over a row has.

/// Run `$body` for each register's worth of a range, the last one possibly not full.
macro_rules! for_registers {
    ($V:ty, $range:expr, |$i:ident, $n:ident, $FULL:ident| $body:block) => {{
        let range: std::ops::Range<usize> = $range;
        let full = range.end - (range.end - range.start) % <$V>::LANES;
        let mut $i = range.start;
        while $i < full {
            #[allow(dead_code)]
            const $FULL: bool = true;
            let $n = <$V>::LANES;
            $body
            $i += <$V>::LANES;
        }
        if $i < range.end {
            #[allow(dead_code)]
            const $FULL: bool = false;
            let $n = range.end - $i;
            $body
        }
    }};
}
