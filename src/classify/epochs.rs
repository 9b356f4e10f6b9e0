//! The epochs of a training run, as a table.

use serde_json::{Value, json};

/// Measures one epoch of a training run: the losses and, on the validation clips, the accuracy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub number: usize,
    /// Mean loss of its training steps.
    pub training_loss: f64,
    /// Mean loss of the validation clips, at its end.
    pub validation_loss: f64,
    /// Share of the validation clips whose class comes first, from 0 to 1.
    pub accuracy: f64,
    /// Share of the validation clips whose class is among the first three, from 0 to 1.
    pub top3: f64,
    /// How long it took in seconds, evaluation included.
    pub seconds: f64,
}

impl Epoch {
    /// Writes the epoch as a JSON object; its keys are the names of the fields, but `epoch` for the number.
    pub fn to_json(&self) -> Value {
        json!({
            "epoch": self.number, "training_loss": self.training_loss, "validation_loss": self.validation_loss,
            "accuracy": self.accuracy, "top3": self.top3, "seconds": self.seconds,
        })
    }

    /// Reads the JSON object that [`Epoch::to_json`] writes; `None` when a key is missing or of another type.
    pub fn from_json(json: &Value) -> Option<Epoch> {
        let number = |name: &str| json[name].as_f64();
        Some(Epoch {
            number: json["epoch"].as_u64()? as usize,
            training_loss: number("training_loss")?,
            validation_loss: number("validation_loss")?,
            accuracy: number("accuracy")?,
            top3: number("top3")?,
            seconds: number("seconds")?,
        })
    }

    /// The heading of the lines that [`Epoch::to_line`] gives.
    pub const HEADING: &str = "epoch  training loss  validation loss  accuracy  top-3  seconds";

    /// Writes the epoch as a line of a table, under [`Epoch::HEADING`].
    pub fn to_line(&self) -> String {
        format!(
            "{:>5}  {:>13.4}  {:>15.4}  {:>8.3}  {:>5.3}  {:>7.1}",
            self.number, self.training_loss, self.validation_loss, self.accuracy, self.top3, self.seconds
        )
    }
}
