//! L-BFGS: minimises a smooth convex function of many numbers from its gradients.
//!
//! Nocedal and Wright, *Numerical Optimization*, 2nd edition, algorithms 7.4 (two-loop recursion) and 7.5, with a line
//! search that halves the step until the value falls enough (algorithm 3.1). On a strictly convex function that is
//! sufficient: every step then has positive curvature.

use std::collections::VecDeque;

/// Steps remembered to estimate curvature.
const MEMORY: usize = 10;

/// Part of the decrease promised by the slope that a step must reach.
const SUFFICIENT: f64 = 1e-4;

/// Halvings after which no decrease means that rounding decides: the minimum is found.
const HALVINGS: usize = 30;

/// A step that was taken, and how the gradient changed along it.
struct Correction {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

/// The point near `x` where no entry of the gradient is larger than `tolerance`, or the point reached after `rounds`.
///
/// `objective` fills in the gradient at a point and returns the value there.
pub(super) fn minimise(
    mut x: Vec<f64>,
    tolerance: f64,
    rounds: usize,
    mut objective: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = objective(&x, &mut gradient);
    let mut history = VecDeque::new();
    let (mut next, mut next_gradient) = (x.clone(), gradient.clone());
    for _ in 0..rounds {
        if gradient.iter().all(|entry| entry.abs() <= tolerance) {
            break;
        }
        let direction = descent(&gradient, &history);
        let slope = dot(&gradient, &direction);
        let mut length = if history.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt() } else { 1.0 };
        let mut halvings = 0;
        let next_value = loop {
            for (next, (x, direction)) in next.iter_mut().zip(x.iter().zip(&direction)) {
                *next = x + length * direction;
            }
            let found = objective(&next, &mut next_gradient);
            if found <= value + SUFFICIENT * length * slope {
                break found;
            }
            halvings += 1;
            if halvings == HALVINGS {
                return x;
            }
            length *= 0.5;
        };
        let step: Vec<f64> = next.iter().zip(&x).map(|(next, x)| next - x).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, last)| next - last).collect();
        let curvature = dot(&step, &change);
        if curvature > 0.0 {
            if history.len() == MEMORY {
                history.pop_front();
            }
            history.push_back(Correction { step, change, curvature });
        }
        std::mem::swap(&mut x, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = next_value;
    }
    x
}

/// Minus the gradient times the inverse curvature that the history tells of.
fn descent(gradient: &[f64], history: &VecDeque<Correction>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
    let mut weights = Vec::with_capacity(history.len());
    for correction in history.iter().rev() {
        let weight = dot(&correction.step, &direction) / correction.curvature;
        add(&mut direction, -weight, &correction.change);
        weights.push(weight);
    }
    if let Some(last) = history.back() {
        let scale = last.curvature / dot(&last.change, &last.change);
        direction.iter_mut().for_each(|entry| *entry *= scale);
    }
    for (correction, weight) in history.iter().zip(weights.iter().rev()) {
        let correct = dot(&correction.change, &direction) / correction.curvature;
        add(&mut direction, weight - correct, &correction.step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += times * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_stretched_bowl_is_found() {
        // 0.5 sum of c_i (x_i - i)^2 with curvatures from 1 to 1,000, plus a quartic so that it is no quadratic.
        let curvature = |at: usize| 1.0 + 999.0 * at as f64 / 19.0;
        let minimum = minimise(vec![50.0; 20], 1e-8, 500, |x, gradient| {
            let mut value = 0.0;
            for (at, (x, gradient)) in x.iter().zip(gradient).enumerate() {
                let off = x - at as f64;
                value += 0.5 * curvature(at) * off * off + off.powi(4);
                *gradient = curvature(at) * off + 4.0 * off.powi(3);
            }
            value
        });
        for (at, x) in minimum.iter().enumerate() {
            assert!((x - at as f64).abs() < 1e-7, "{x} for {at}");
        }
    }
}
