//! Whatever an agent, a host or a dialling stranger sends: it decodes and encodes back to the same bytes, or is refused.
#![no_main]

use bincode::{Decode, Encode};
use libfuzzer_sys::fuzz_target;
use playhouse_protocol::{agent::{AgentFrame, NodeFrame}, codec, handshake::{Hello, Proof}, host::{FromHost, ToHost}};

fn round<T: Encode + Decode<()>>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>(bytes) {
        let again = codec::encode(&value).expect("what was decoded within the limit can be encoded");
        let twice = codec::decode::<T>(&again).expect("what was encoded decodes");
        assert_eq!(codec::encode(&twice).expect("as before"), again);
    }
}

fuzz_target!(|bytes: &[u8]| {
    round::<AgentFrame>(bytes);
    round::<NodeFrame>(bytes);
    round::<FromHost>(bytes);
    round::<ToHost>(bytes);
    round::<Hello>(bytes);
    round::<Proof>(bytes);
});
