"""Raw tables: numbers, categories, texts, truth values and dates, with missing values, as networks learn from them."""
