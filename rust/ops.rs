//! The table of ops.

use crate::attention::ops::{elementwise_attention, elementwise_self_attention};
use crate::pooling::elementwise_attention_pool2d;
use crate::tensor::definition::Definition;

pub const OPS: &[&Definition] = &[
    &elementwise_attention::DEFINITION,
    &elementwise_attention_pool2d::DEFINITION,
    &elementwise_self_attention::DEFINITION,
];

#[cfg(test)]
mod tests {
    use super::OPS;
    use crate::attention::op::Y;

    #[test]
    fn what_is_optional_comes_last() {
        for op in OPS {
            assert!(op.inputs[op.required()..].iter().all(|input| input.optional), "{}", op.name);
            assert!(op.inputs.len() <= Y, "{}", op.name);
            let requested = op.outputs.iter().filter(|output| output.requested_by.is_some());
            assert!(requested.clone().all(|output| !output.saved), "{}", op.name);
        }
    }
}
