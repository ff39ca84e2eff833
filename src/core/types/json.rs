use serde_json::Value;

/// A JSON value as text. What waits by the thousands takes a tenth of the memory so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl From<Value> for Json {
    fn from(value: Value) -> Json {
        Json(value.to_string().into())
    }
}

impl Json {
    /// The value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_value_is_what_it_was_made_of() {
        let value = json!({"a": ["\"b\"\n", 1, -1.5, null, true], "ä": {}});
        assert_eq!(Json::from(value.clone()).value(), value);
        assert_eq!(Json::from(json!({"b": 1, "a": 2})), Json::from(json!({"a": 2, "b": 1})), "by value");
    }
}
