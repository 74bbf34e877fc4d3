//! Loops that every pass over a block has.

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

/// A task on all rows of a block that does the same whether lanes are slices or not.
macro_rules! block_task {
    ($(#[$doc:meta])* $name:ident { $($field:ident),* } => $row:ident) => {
        $(#[$doc])*
        pub struct $name<'a, O: Op> {
            pub work: Work<'a, O>,
            $(pub $field: Stats<Acc<O>>,)*
        }

        impl<O: Op> Task for $name<'_, O> {
            type Output = ();
            #[inline(always)]
            unsafe fn run<I: Isa>(self) {
                if first!($(self.$field),*).outer_form {
                    self.run_rows::<Registers<O, I>, true>();
                } else {
                    self.run_rows::<Registers<O, I>, false>();
                }
            }
        }

        impl<O: Op> $name<'_, O> {
            #[inline(always)]
            unsafe fn run_rows<V: Register<O::T>, const OUTER: bool>(self) {
                $(let mut $field = Running::<V, OUTER>::load(&self.$field);)*
                for row in 0..self.work.rows {
                    let scratch = self.work.scratch.wrapping_add(row * self.work.pitch);
                    $row::<O, V, OUTER>(&self.work, row, scratch, $(&mut $field),*);
                }
                $($field.store();)*
            }
        }
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}
