//! Steps as people write them: `stack:-8,0,8`, `every:2`, `whiten:96`, `normalise`.

use super::pool::Statistic;
use super::step::{Step, invalid};
use crate::error::{Error, Result};
use std::fmt::{self, Display};
use std::str::FromStr;

/// Sample and rounds of `codes` where only the number of centroids is given.
const CODES_SAMPLE: usize = 30_000;
const CODES_ROUNDS: usize = 8;

/// Shrinkage of `lda` where only the field is given.
const LDA_SHRINKAGE: f64 = 0.1;

/// Dimensions of `contrast` where only the field is given.
const CONTRAST_DIM: usize = 64;

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Stack { offsets } => write!(f, "stack:{}", joined(offsets)),
            Step::Every { n } => write!(f, "every:{n}"),
            Step::Pca { dim, whiten: false } => write!(f, "pca:{dim}"),
            Step::Pca { dim, whiten: true } => write!(f, "whiten:{dim}"),
            Step::Lda { field, shrinkage, dim: None } => write!(f, "lda:{field},{shrinkage}"),
            Step::Lda { field, shrinkage, dim: Some(dim) } => write!(f, "lda:{field},{shrinkage},{dim}"),
            Step::Contrast { field, dim, seed } => write!(f, "contrast:{field},{dim},{seed}"),
            Step::Concatenate { rows } => write!(f, "concatenate:{rows}"),
            Step::Pool(statistics) => write!(f, "pool:{}", joined(statistics)),
            Step::Codes { centroids, sample, rounds, seed } => write!(f, "codes:{centroids},{sample},{rounds},{seed}"),
            Step::Centre | Step::Standardise | Step::Normalise => f.write_str(self.name()),
        }
    }
}

fn joined<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

impl FromStr for Step {
    type Err = Error;

    /// Reads what [`Display`] prints; of `codes`, `contrast` and `lda` all settings but the first may be left out.
    fn from_str(text: &str) -> Result<Step> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let parts: Vec<&str> = settings.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let one = || match *parts {
            [number] => parse(name, number),
            _ => Err(invalid(name, format!("one whole number is wanted, as in `{name}:8`"))),
        };
        let step = match name {
            "stack" => Step::Stack { offsets: parts.iter().map(|part| parse(name, part)).collect::<Result<_>>()? },
            "every" => Step::Every { n: one()? },
            "pca" => Step::Pca { dim: one()?, whiten: false },
            "whiten" => Step::Pca { dim: one()?, whiten: true },
            "concatenate" => Step::Concatenate { rows: one()? },
            "pool" => Step::Pool(parts.iter().map(|part| part.parse()).collect::<Result<Vec<Statistic>>>()?),
            "lda" => match parts[..] {
                [field, ref numbers @ ..] if numbers.len() < 3 => Step::Lda {
                    field: field.to_owned(),
                    shrinkage: numbers.first().map_or(Ok(LDA_SHRINKAGE), |part| parse(name, part))?,
                    dim: numbers.get(1).map(|part| parse(name, part)).transpose()?,
                },
                _ => {
                    return Err(invalid(
                        name,
                        "a field is wanted, then perhaps shrinkage and dimensions: `lda:class,0.1,20`",
                    ));
                }
            },
            "contrast" => match parts[..] {
                [field, ref numbers @ ..] if numbers.len() < 3 => Step::Contrast {
                    field: field.to_owned(),
                    dim: numbers.first().map_or(Ok(CONTRAST_DIM), |part| parse(name, part))?,
                    seed: numbers.get(1).map_or(Ok(0), |part| parse(name, part))?,
                },
                _ => {
                    return Err(invalid(
                        name,
                        "a field is wanted, then perhaps dimensions and seed: `contrast:class,64`",
                    ));
                }
            },
            "codes" => {
                let number = |at: usize, default| parts.get(at).map_or(Ok(default), |part| parse(name, part));
                if parts.is_empty() || parts.len() > 4 {
                    return Err(invalid(name, "centroids are wanted, then perhaps sample, rounds and seed"));
                }
                Step::Codes {
                    centroids: number(0, 0)?,
                    sample: number(1, CODES_SAMPLE)?,
                    rounds: number(2, CODES_ROUNDS)?,
                    seed: parts.get(3).map_or(Ok(0), |part| parse(name, part))?,
                }
            }
            "centre" | "standardise" | "normalise" if !parts.is_empty() => {
                return Err(invalid(name, "takes no setting"));
            }
            "centre" => Step::Centre,
            "standardise" => Step::Standardise,
            "normalise" => Step::Normalise,
            _ => {
                let known = "stack, every, centre, standardise, pca, whiten, lda, contrast, normalise, concatenate, pool, codes";
                return Err(invalid(text, format!("none of {known}")));
            }
        };
        step.check()?;
        Ok(step)
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| invalid(name, format!("`{text}` is not a number that fits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_undoes_printing() {
        let texts = [
            "stack:-8,-4,-2,0,2,4,8",
            "every:2",
            "centre",
            "standardise",
            "pca:96",
            "whiten:96",
            "normalise",
            "concatenate:64",
            "pool:mean,std,max",
            "codes:1000,30000,8,0",
            "lda:class,0.1",
            "lda:class,0.25,20",
            "contrast:class,64,0",
        ];
        for text in texts {
            assert_eq!(text.parse::<Step>().unwrap().to_string(), text);
        }
        assert_eq!("lda:class".parse::<Step>().unwrap(), "lda:class,0.1".parse().unwrap());
        assert_eq!("codes:1000".parse::<Step>().unwrap(), "codes:1000,30000,8,0".parse().unwrap());
    }

    #[test]
    fn nonsense_is_refused_with_what_is_wanted() {
        for text in [
            "",
            "stack",
            "stack:x",
            "every:0",
            "every",
            "every:1,2",
            "normalise:3",
            "pool:middle",
            "codes",
            "rotate",
            "contrast",
            "contrast:class,0",
            "lda",
            "lda:class,2",
            "lda:class,x",
            "lda:class,0.1,0",
        ] {
            let error = text.parse::<Step>().unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{text}: {error}");
        }
    }
}
