//! Mixing several channels into one.

use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// How the channels of a sound become one. Read from text (`mean`, `left`, `right`, or a number from 1) by `FromStr`.
///
/// # Examples
///
/// ```
/// use otolith::audio::Mix;
///
/// assert_eq!("left".parse::<Mix>()?, Mix::Channel(1));
/// assert!("0".parse::<Mix>().is_err()); // channels are counted from 1
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mix {
    /// The mean of all channels.
    #[default]
    Mean,
    /// One channel alone, counted from 1: of two, 1 is the left.
    Channel(usize),
}

impl FromStr for Mix {
    type Err = Error;

    /// Reads `mean`, `left`, `right`, or the number of a channel.
    fn from_str(text: &str) -> Result<Mix, Error> {
        match text {
            "mean" => Ok(Mix::Mean),
            "left" => Ok(Mix::Channel(1)),
            "right" => Ok(Mix::Channel(2)),
            number => match number.parse() {
                Ok(channel) if channel > 0 => Ok(Mix::Channel(channel)),
                _ => {
                    Err(Error::invalid("channel", format!("`{text}`: expected mean, left, right, or a number from 1")))
                }
            },
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mix::Mean => out.write_str("mean"),
            Mix::Channel(channel) => write!(out, "{channel}"),
        }
    }
}

impl Mix {
    /// Appends one sample for each frame of `channels` interleaved samples. The channel that is asked for must exist.
    pub(super) fn apply(self, interleaved: &[f32], channels: usize, into: &mut Vec<f32>) {
        let frames = interleaved.chunks_exact(channels);
        match self {
            Mix::Mean => into.extend(frames.map(mean)),
            Mix::Channel(channel) => into.extend(frames.map(|frame| frame[channel - 1])),
        }
    }
}

fn mean(frame: &[f32]) -> f32 {
    (frame.iter().map(|sample| f64::from(*sample)).sum::<f64>() / frame.len() as f64) as f32
}

/// Measures how much of a sound is lost when its channels are mixed: the energy of the channels and of their mean.
#[derive(Default)]
pub(super) struct Loss {
    channels: f64,
    mix: f64,
}

impl Loss {
    pub(super) fn push(&mut self, interleaved: &[f32], mixed: &[f32]) {
        let energy = |samples: &[f32]| samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        self.channels += energy(interleaved);
        self.mix += energy(mixed);
    }

    /// Returns a sentence where channels cancel each other: where less is left than a hundredth of what unrelated
    /// ones leave.
    pub(super) fn remark(&self, channels: usize) -> Option<String> {
        let (channel, mix, count) = (self.channels / channels as f64, self.mix, channels as f64);
        if channels < 2 || mix * 100.0 * count >= channel {
            return None;
        }
        let left = if mix == 0.0 {
            "the mix of its channels is silent, the channels are not".to_owned()
        } else {
            format!("the mix of its channels is {:.0} dB below them", 10.0 * (channel / mix).log10())
        };
        Some(format!("{left}: they are opposite; take channel 1 alone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_chosen_by_name_or_number() {
        for (text, mix) in
            [("mean", Mix::Mean), ("left", Mix::Channel(1)), ("right", Mix::Channel(2)), ("7", Mix::Channel(7))]
        {
            assert_eq!(text.parse::<Mix>().unwrap(), mix);
        }
        for wrong in ["", "0", "-1", "middle", "1.5"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_channels_that_cancel_each_other_are_told() {
        let remark = |frames: &[[f32; 2]]| {
            let (flat, mut mixed, mut loss) = (frames.as_flattened(), Vec::new(), Loss::default());
            Mix::Mean.apply(flat, 2, &mut mixed);
            loss.push(flat, &mixed);
            loss.remark(2)
        };
        assert!(remark(&[[0.5, -0.5], [0.2, -0.2]]).unwrap().contains("silent, the channels are not"));
        assert!(remark(&[[0.5, -0.49], [0.2, -0.21]]).unwrap().contains("dB below them"));
        // One channel alone, silence, unrelated channels, equal ones.
        for fine in [[[0.5, 0.0], [0.2, 0.0]], [[0.0; 2]; 2], [[0.5, 0.1], [0.1, -0.5]], [[0.5, 0.5], [0.2, 0.2]]] {
            assert_eq!(remark(&fine), None);
        }
    }
}
