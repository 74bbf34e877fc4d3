//! Attention pooling: y = Σ softmax(w·x)·x over the windows of images, channel by channel. This is what
//! the op takes; [`crate::pool`] computes it.

use crate::pooling::Pool;
use crate::tensor::definition::{Definition, Input, Output, Setting, Value};

fn tuple(shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("({}{})", sizes.join(", "), if sizes.len() == 1 { "," } else { "" })
}

/// The sizes of a pooling of x by w, or what is wrong with them. No kernel is the whole image, no stride
/// the kernel.
pub fn check(
    x: &[usize],
    w: &[usize],
    kernel: Option<[usize; 2]>,
    stride: Option<[usize; 2]>,
) -> Result<Pool, String> {
    let &[ref lead @ .., channels, height, width] = x else {
        return Err(format!("x: expected a shape (…, C, H, W), got {}", tuple(x)));
    };
    let image = [height, width];
    if image.contains(&0) {
        let got = tuple(x);
        return Err(format!("x: expected images of at least one pixel, got the shape {got}"));
    }
    let kernel = kernel.unwrap_or(image);
    let stride = stride.unwrap_or(kernel);
    for (name, sizes) in [("kernel_size", kernel), ("stride", stride)] {
        if sizes.contains(&0) {
            return Err(format!("{name}: expected sizes of at least 1, got {}", tuple(&sizes)));
        }
    }
    if kernel[0] > height || kernel[1] > width {
        return Err(format!(
            "kernel_size: expected a window within the image of {}, got {}",
            tuple(&image),
            tuple(&kernel)
        ));
    }
    let per_place = [channels, kernel[0], kernel[1]];
    if w != [channels] && w != per_place {
        return Err(format!(
            "w: expected the shape {} or {}, got {}",
            tuple(&[channels]),
            tuple(&per_place),
            tuple(w)
        ));
    }
    let per_place = w.len() == 3;
    Ok(Pool { lead: lead.to_vec(), channels, image, kernel, stride, per_place })
}

pub static DEFINITION: Definition = Definition {
    name: "elementwise_attention_pool2d",
    inputs: &[Input::required("x"), Input::required("w")],
    settings: &[
        Setting { name: "kernel_size", schema: "int[]", default: Value::Ints(&[]) },
        Setting { name: "stride", schema: "int[]", default: Value::Ints(&[]) },
    ],
    outputs: &[Output::differentiable("y", "grad")],
    eager: false,
};
