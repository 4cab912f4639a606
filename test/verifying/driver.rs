mod verify;

use base64::{engine::general_purpose::STANDARD, Engine};
use std::collections::HashMap;

fn main() {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let fields: Vec<Vec<u8>> = line.split(' ').map(|field| STANDARD.decode(field).expect("base64")).collect();
        let text = |index: usize| String::from_utf8(fields[index].clone()).expect("UTF-8");
        let named: HashMap<String, String> = text(2)
            .lines()
            .filter_map(|header| header.split_once(": "))
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let function = if text(0) == "standard" { verify::verify } else { verify::verify_simple };
        println!("{}", function(&named, &fields[3], &text(1)));
    }
}
