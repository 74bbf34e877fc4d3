//! What an op is, as data. It is written down here once, and read by the bindings, the registration with
//! torch.library, the tests and the benchmark.

/// An op: what it takes and what it gives, in the order in which all of them have it.
pub struct Definition {
    pub name: &'static str,
    /// Those that are optional come behind those that are not.
    pub inputs: &'static [Input],
    pub settings: &'static [Setting],
    pub outputs: &'static [Output],
    /// Whether calls on plain tensors are made in Rust from the checks to the results.
    pub eager: bool,
}

/// An array that an op takes.
pub struct Input {
    pub name: &'static str,
    pub optional: bool,
    pub kind: InputKind,
    pub differentiable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Numbers, which are promoted to the common type of all such inputs.
    Float,
    /// Booleans, which have no gradient, or numbers that are added to the scores.
    Mask,
}

/// What an op takes beside arrays.
pub struct Setting {
    pub name: &'static str,
    /// Its type in the schemas of torch.library.
    pub schema: &'static str,
    pub default: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Ints(&'static [i64]),
}

/// An array that an op gives.
pub struct Output {
    pub name: &'static str,
    /// What its gradient is called, among the arguments of the backward; none if it has no gradient.
    pub gradient: Option<&'static str>,
    /// The setting that asks for it, behind all others; none if it is always given. In a registered op,
    /// what is not asked for is an empty tensor.
    pub requested_by: Option<&'static str>,
    /// Whether the backward takes it, beside the inputs.
    pub saved: bool,
}

impl Definition {
    /// So many of the inputs, the first ones, are in every call.
    pub const fn required(&self) -> usize {
        let mut count = 0;
        while count < self.inputs.len() && !self.inputs[count].optional {
            count += 1;
        }
        count
    }

    /// The number of the mask; that of the inputs if there is none.
    pub const fn mask(&self) -> usize {
        let mut j = 0;
        while j < self.inputs.len() && !matches!(self.inputs[j].kind, InputKind::Mask) {
            j += 1;
        }
        j
    }
}

impl Input {
    pub const fn required(name: &'static str) -> Input {
        Input { name, optional: false, kind: InputKind::Float, differentiable: true }
    }

    pub const fn optional(name: &'static str) -> Input {
        Input { optional: true, ..Input::required(name) }
    }

    pub const fn mask(name: &'static str) -> Input {
        Input { kind: InputKind::Mask, ..Input::optional(name) }
    }
}

impl Output {
    pub const fn differentiable(name: &'static str, gradient: &'static str) -> Output {
        Output { name, gradient: Some(gradient), requested_by: None, saved: false }
    }

    pub const fn requested(name: &'static str, gradient: &'static str, by: &'static str) -> Output {
        Output { requested_by: Some(by), ..Output::differentiable(name, gradient) }
    }

    pub const fn saved(name: &'static str) -> Output {
        Output { name, gradient: None, requested_by: None, saved: true }
    }
}
