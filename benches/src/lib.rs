//! Esker's micro-benchmarks (`cargo bench -p esker-benches`) and, in `src/bin`, load generators that drive a running
//! server. Here is what the load generators share; nothing else may import this crate.

/// A fixed permutation of 64-bit numbers (SplitMix64's finish): spreads keys and picks reads.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of item `number`.
pub fn key(number: u64) -> String {
    format!("{:016x}", mix(number))
}

/// The host and port of an endpoint, `http://host:port`.
///
/// # Errors
/// What is wrong with it.
pub fn host_of(endpoint: &str) -> Result<&str, &'static str> {
    let host = endpoint.strip_prefix("http://").ok_or("--endpoint must start with http://")?;
    Ok(host.trim_end_matches('/'))
}

/// The body of a CreateTable for a table whose partition key is the string `id`.
pub fn create_table_body(table: &str) -> String {
    format!(
        r#"{{"TableName":"{table}","BillingMode":"PAY_PER_REQUEST",
            "AttributeDefinitions":[{{"AttributeName":"id","AttributeType":"S"}}],
            "KeySchema":[{{"AttributeName":"id","KeyType":"HASH"}}]}}"#
    )
}

/// The body of a DescribeTable.
pub fn describe_table_body(table: &str) -> String {
    format!(r#"{{"TableName":"{table}"}}"#)
}

/// Whether the answer to a DescribeTable says that the table can be used.
pub fn is_active(answer: &serde_json::Value) -> bool {
    answer["Table"]["TableStatus"] == "ACTIVE"
}

/// What a share `q` of the latencies, which are sorted and in microseconds, does not exceed; in milliseconds.
pub fn quantile_ms(sorted_us: &[u32], q: f64) -> f64 {
    let count = sorted_us.len();
    let rank = ((count as f64 * q).ceil() as usize).clamp(1, count.max(1));
    sorted_us.get(rank - 1).map_or(0.0, |&us| f64::from(us) / 1000.0)
}
