//! The kinds of values that options have, beside numbers: how each is spelt in
//! JavaScript, and read.

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// A text, or the ids of its tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a string or a list of token ids")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum TokenSequence {
    Text(String),
    Ids(Vec<u32>),
}

/// A token: its id, or the text that is this one token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a token id or the text of a token")]
pub enum TokenName {
    Id(u32),
    Text(String),
}

/// What is added to a score; `false` rules the token out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bias {
    Add(f32),
    RuleOut,
}

impl Serialize for Bias {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Add(bias) => serializer.serialize_f32(bias),
            Self::RuleOut => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Bias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrFalse;

        impl Visitor<'_> for NumberOrFalse {
            type Value = Bias;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or false")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Bias, E> {
                Ok(Bias::Add(number as f32))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Bias, E> {
                Ok(Bias::Add(number as f32))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Bias, E> {
                Ok(Bias::Add(number as f32))
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Bias, E> {
                if value {
                    return Err(E::invalid_type(serde::de::Unexpected::Bool(true), &self));
                }
                Ok(Bias::RuleOut)
            }
        }
        deserializer.deserialize_any(NumberOrFalse)
    }
}

/// Changes to single tokens' scores: an object whose keys are ids (digits) or
/// texts, or a list of `[id or text, bias]`, where digits can be a text.
pub(super) fn biases<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(TokenName, Bias)>, D::Error> {
    struct ObjectOrPairs;

    impl<'de> Visitor<'de> for ObjectOrPairs {
        type Value = Vec<(TokenName, Bias)>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object or a list of pairs of token and bias")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut biases = Vec::new();
            while let Some((name, bias)) = map.next_entry::<String, Bias>()? {
                let name = match name.parse() {
                    Ok(id) => TokenName::Id(id),
                    Err(_) => TokenName::Text(name),
                };
                biases.push((name, bias));
            }
            Ok(biases)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut biases = Vec::new();
            while let Some(pair) = list.next_element()? {
                biases.push(pair);
            }
            Ok(biases)
        }
    }
    deserializer.deserialize_any(ObjectOrPairs)
}

/// One of a thing, or a list of it.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + One,
{
    struct OneOrMany<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + One> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "a {0} or a list of {0}s", T::NAME)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            match T::of_text(text) {
                Some(one) => Ok(vec![one]),
                None => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
            }
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Vec<T>, E> {
            match T::of_number(number) {
                Some(one) => Ok(vec![one]),
                None => Err(E::invalid_type(
                    serde::de::Unexpected::Unsigned(number),
                    &self,
                )),
            }
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Vec<T>, E> {
            let unexpected = serde::de::Unexpected::Signed(number);
            let number = u64::try_from(number).map_err(|_| E::invalid_type(unexpected, &self))?;
            self.visit_u64(number)
        }

        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Vec<T>, E> {
            // A number of JavaScript may come as a float.
            if number >= 0.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0 {
                return self.visit_u64(number as u64);
            }
            Err(E::invalid_type(serde::de::Unexpected::Float(number), &self))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut many = Vec::new();
            while let Some(one) = list.next_element()? {
                many.push(one);
            }
            Ok(many)
        }
    }
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

/// What can stand alone where a list may stand.
pub(super) trait One: Sized {
    const NAME: &'static str;

    fn of_text(_text: &str) -> Option<Self> {
        None
    }

    fn of_number(_number: u64) -> Option<Self> {
        None
    }
}

impl One for String {
    const NAME: &'static str = "string";

    fn of_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl One for u32 {
    const NAME: &'static str = "token id";

    fn of_number(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
}

/// How the temperature changes while a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum TemperatureSchedule {
    /// From `temperature` to `to` in equal steps over `tokens` tokens, `to`
    /// from then on.
    Linear {
        /// Above 0.
        to: f32,
        /// At least 1.
        tokens: u32,
    },
    /// From `temperature` to `to` along half a cosine wave over `tokens`
    /// tokens, `to` from then on (I. Loshchilov and F. Hutter, "SGDR",
    /// arXiv:1608.03983, equation 5).
    Cosine {
        /// Above 0.
        to: f32,
        /// At least 1.
        tokens: u32,
    },
    /// `min + (max - min) * (H / ln n)^exponent`, where `H` is the entropy of
    /// the softmax at temperature 1 and `n` how many tokens are not ruled out:
    /// careful where the model is sure (llama.cpp's `dynatemp`). It takes the
    /// place of `temperature`.
    Entropy {
        /// Above 0.
        min: f32,
        /// At least `min`.
        max: f32,
        /// Above 0. Default: 1.
        #[serde(default = "one")]
        #[cfg_attr(target_arch = "wasm32", tsify(optional))]
        exponent: f32,
    },
}

fn one() -> f32 {
    1.0
}

/// A number that follows the entropy, from `min` where the model is sure of
/// one token to `max` where all are equally likely: `min + (max - min) * H / ln n`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct ByEntropy {
    pub min: f64,
    pub max: f64,
}

/// Mirostat 2 (S. Basu et al., arXiv:2007.14966, algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct MirostatOptions {
    /// The surprise to aim at, in bits a token. Default: 5.
    pub tau: f64,
    /// How fast it corrects itself: from 0 to 1. Default: 0.1.
    pub eta: f64,
}

impl Default for MirostatOptions {
    fn default() -> Self {
        Self { tau: 5.0, eta: 0.1 }
    }
}

/// A head that is taken out: its output is replaced before `c_proj`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct HeadAblation {
    pub layer: usize,
    pub head: usize,
    /// What replaces it, one number for each dimension of a head. Default: zero.
    #[serde(default)]
    #[cfg_attr(target_arch = "wasm32", tsify(optional, type = "number[]"))]
    pub mean: Option<Vec<f32>>,
}

/// Whose attention is captured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct CaptureAttention {
    /// Default: all.
    #[cfg_attr(target_arch = "wasm32", tsify(optional, type = "number[]"))]
    pub layers: Option<Vec<usize>>,
    /// Default: all.
    #[cfg_attr(target_arch = "wasm32", tsify(optional, type = "number[]"))]
    pub heads: Option<Vec<usize>>,
}

/// What counts as a loop: the text ends in one run of tokens, of at most
/// `maxPeriod`, that stands there `repeats` times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct LoopOptions {
    /// From 1 to 256. Default: 64.
    pub max_period: usize,
    /// From 2 to 64. Default: 4.
    pub repeats: usize,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            max_period: 64,
            repeats: 4,
        }
    }
}

/// Where a text ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum StopAt {
    /// The first line with something on it.
    Line,
    /// The first sentence (Unicode's rules, UAX #29).
    Sentence,
    /// The first paragraph: before an empty line.
    Paragraph,
}

/// What becomes of a text that has more tokens than the model has positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum ContextPolicy {
    /// A prompt that is too long is an error; a text that reaches the end of
    /// the context ends there.
    #[default]
    Error,
    /// The oldest tokens are dropped.
    TruncateStart,
    /// Tokens are dropped from the middle: as much of the beginning stays as of
    /// the end.
    TruncateMiddle,
    /// The first `keepPrefixTokens` stay, the oldest of the rest are dropped.
    KeepPrefix,
}
