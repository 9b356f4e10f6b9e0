//! Every operation's backward pass against central differences, at batch 2.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use super::*;
use candle_core::Var;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn values(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|_| rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The gradient of a random weighing of what `of` makes of `arguments`, against central differences of every argument's
/// every number. A step of 1/64 leaves a rounding error of some 1e-5 and an error of the third order below 1e-4.
fn check(name: &str, shapes: &[&[usize]], of: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const STEP: f32 = 1.0 / 64.0;
    let vars: Vec<Var> =
        shapes.iter().enumerate().map(|(i, shape)| Var::from_tensor(&values(i as u64, shape)).unwrap()).collect();
    let arguments: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let out = of(&arguments).unwrap();
    let weights = values(99, out.dims());
    let weighed = |out: &Tensor| -> f64 {
        numbers(out).iter().zip(numbers(&weights)).map(|(value, weight)| f64::from(*value) * f64::from(weight)).sum()
    };
    let gradients = (&out * &weights).unwrap().sum_all().unwrap().backward().unwrap();
    let mut worst = 0.0_f64;
    for (number, argument) in arguments.iter().enumerate() {
        let gradient = numbers(gradients.get(argument).unwrap_or_else(|| panic!("{name}: argument {number} has none")));
        assert_eq!(gradient.len(), argument.elem_count());
        for (at, gradient) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut values = numbers(argument);
                values[at] += by;
                let mut arguments: Vec<Tensor> = arguments.iter().map(Tensor::detach).collect();
                arguments[number] = Tensor::from_vec(values, argument.shape(), &Device::Cpu).unwrap();
                weighed(&of(&arguments).unwrap())
            };
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            worst = worst.max((slope - f64::from(*gradient)).abs() / (1.0 + slope.abs()));
        }
    }
    println!("figure gradient_error_{name} = {worst:.1e}");
    assert!(worst < 1e-3, "{name}: {worst:e}");
}

#[test]
fn a_linear_map() {
    check("linear", &[&[2, 5, 3], &[3, 4], &[4]], |x| linear(&x[0], &x[1], &x[2]));
}

#[test]
fn gelu_of_every_value() {
    check("gelu", &[&[2, 5, 7]], |x| gelu(&x[0]));
}

#[test]
fn norms() {
    check("layer_norm", &[&[2, 3, 16], &[16], &[16]], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5));
    check("channel_norm", &[&[2, 9, 4], &[4], &[4]], |x| channel_norm(&x[0], &x[1], &x[2], 1e-5));
}

#[test]
fn attention_with_keys_that_do_not_count_and_weights_dropped() {
    let shapes: [&[usize]; 3] = [&[2, 5, 4], &[2, 5, 4], &[2, 5, 4]];
    check("attention", &shapes, |x| attention(&x[0], &x[1], &x[2], 2, None, None));
    check("attention_kept", &shapes, |x| attention(&x[0], &x[1], &x[2], 2, Some(&[5, 3]), None));
    let factors: Vec<f32> = (0..2 * 2 * 5 * 5).map(|i| if i % 3 == 0 { 0.0 } else { 1.5 }).collect();
    check("attention_dropped", &shapes, |x| attention(&x[0], &x[1], &x[2], 2, Some(&[4, 5]), Some(factors.clone())));
}

#[test]
fn attention_over_more_rows_than_a_block() {
    // 300 rows are two blocks of queries: the sum of both must reach keys and values.
    let shape: &[usize] = &[1, 300, 2];
    let vars: Vec<Var> = (0..3).map(|i| Var::from_tensor(&values(i, shape)).unwrap()).collect();
    let [q, k, v] = [0, 1, 2].map(|i: usize| vars[i].as_tensor().clone());
    let ours = attention(&q, &k, &v, 1, None, None).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let weights = candle_nn::ops::softmax(&q.matmul(&k.t().unwrap()).unwrap(), candle_core::D::Minus1).unwrap();
    let composed = weights.matmul(&v).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for argument in [&q, &k, &v] {
        let (ours, theirs) = (numbers(ours.get(argument).unwrap()), numbers(composed.get(argument).unwrap()));
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn convolutions() {
    check("convolution", &[&[2, 11, 3], &[3, 3, 4]], |x| convolution(&x[0], &x[1], 2));
    check("convolution_leaving_a_rest", &[&[2, 12, 2], &[4, 2, 3]], |x| convolution(&x[0], &x[1], 3));
    check("grouped_even", &[&[2, 7, 4], &[2, 4, 2, 2]], |x| grouped_convolution(&x[0], &x[1]));
    check("grouped_odd", &[&[2, 7, 4], &[2, 5, 2, 2]], |x| grouped_convolution(&x[0], &x[1]));
    check("grouped_wider_than_the_clip", &[&[2, 3, 4], &[2, 8, 2, 2]], |x| grouped_convolution(&x[0], &x[1]));
}
