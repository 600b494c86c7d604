//! Enums that are one word of JSON, and nothing else.
//!
//! serde takes `{"view": null}` for the variant `view` as well, and says of a number that it is no JSON at all.

/// Reads and writes an enum of words by what is derived with `#[serde(remote = "Self")]`, but only from a string.
macro_rules! word {
    ($name:ty) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::deserialize(serde::de::value::CowStrDeserializer::new(word))
            }
        }
    };
    ($name:ty, written) => {
        word!($name);

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    };
}

pub(crate) use word;

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(remote = "Self", rename_all = "lowercase")]
    enum Word {
        View,
        Edit,
    }

    word!(Word, written);

    #[test]
    fn a_word_is_a_string_and_nothing_else() {
        assert_eq!(serde_json::from_str::<Word>(r#""view""#).expect("a word"), Word::View);
        assert_eq!(serde_json::to_string(&Word::Edit).expect("JSON"), r#""edit""#);
        for no in [r#"{"view":null}"#, "null", "5", r#"["view"]"#, r#""View""#] {
            let error = serde_json::from_str::<Word>(no).expect_err(no);
            assert!(error.is_data(), "{no}: {error}");
        }
    }
}
