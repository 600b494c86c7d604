//! Who reaches a host and its sandboxes, and what they reach.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_leads_to_listed_names_alone() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = server.local_addr().expect("an address").to_string();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("accepted");
            stream.write_all(b"from the registry").expect("written");
        });
        let mut spec = spec();
        spec.egress = vec![EgressRule { name: "registry.test".into(), address: Some(address) }];
        node.create(&spec, 1).expect("made");
        let (_, mut agent) = node.agent();
        let connect = |name: &str| {
            format!(
                "sh python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"/run/playhouse/egress.sock\"); \
                 s.sendall(b\"CONNECT {name} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\"); print(b\"\".join(iter(lambda: s.recv(4096), b\"\")))'"
            )
        };
        let said = agent.ask(&connect("registry.test:443"));
        assert!(said.contains("200 OK") && said.contains("from the registry"), "{said}");
        assert!(agent.ask(&connect("other.test:443")).contains("403"), "not listed");
        assert!(agent.ask("sh cat /proc/net/route | wc -l").trim() == "1", "no route out");
        serving.join().expect("the server");
        node.end(spec.sandbox_id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_node_replaces_the_others_and_a_hello_waits_for_it() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let second = run_with(world.config.clone(), env!("CARGO_BIN_EXE_playhouse").into());
    let mut first = world.node(5).await;
    assert!(matches!(second.await, Err(HostFailure::Taken(_))));
    let spec = spec();
    let id = spec.sandbox_id;
    let mut first = blocking(move || {
        first.create(&spec, 1).expect("made");
        drop(first.agent());
        first
    })
    .await;
    let next = world.node(5).await;
    blocking(move || {
        let begin = Instant::now();
        while first.try_receive().is_ok() {
            assert!(begin.elapsed() < LIMIT, "the older connection ends");
        }
        drop(first);
        let run_dir = next.control.peer_addr().expect("an address");
        let run_dir = run_dir.as_pathname().and_then(Path::parent).expect("a path").to_owned();
        let mut older = UnixStream::connect(run_dir.join(CONTROL_SOCKET)).expect("connected");
        let hello = ToHost::Hello { node: "n".into(), incarnation: 4 };
        older.write_all(&codec::encode_prefixed(&hello).expect("encoded")).expect("written");
        assert_eq!(older.read(&mut [0; 1]).expect("read"), 0, "one of a lower incarnation is turned away");
        let mut next = next;
        let (hello, agent) = next.agent();
        assert_eq!(hello.sandbox_id, id);
        drop(agent);
        next.end(id, 1).expect("ended");
        next.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_while_a_sandbox_is_made_has_one_with_the_token_that_it_knows() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let spec = spec();
    let id = spec.sandbox_id;
    let command_id = Uuid::now_v7();
    let create = ToHost::Create { command_id, epoch: 1, spec: spec.clone() };
    let mut node = {
        let create = create.clone();
        blocking(move || {
            node.send(&create);
            // What is behind it is answered when the host has begun.
            node.send(&ToHost::Look { sandbox_id: id });
            node.wait(|frame| matches!(frame, FromHost::Looked { .. }).then_some(()));
            node
        })
        .await;
        world.node(2).await
    };
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 1, ended: None }], "one that is being made is held");
    blocking(move || {
        node.send(&create);
        assert_eq!(node.done(command_id), Ok(()), "the same command is answered here");
        let (_, mut agent) = node.agent();
        assert_eq!(agent.ask("token"), "ab".repeat(32));
        // A node that died with the token.
        let other = SandboxSpec { token: [0xcd; 32], ..spec };
        node.create(&other, 1).expect("started anew");
        while agent.hear().is_ok() {}
        let (_, mut agent) = node.agent();
        assert_eq!(agent.ask("token"), "cd".repeat(32));
        node.create(&other, 1).expect("it is there");
        assert_eq!(agent.ask("sh echo alive"), "alive\n");
        node.end(id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

/// Dials as an agent does, again and again, until one of the dials is closed.
const FLOOD: &str = r#"
import os, select, socket
sandbox = bytes.fromhex(os.environ["PLAYHOUSE_SANDBOX_ID"].replace("-", ""))
dialled = []
closed = []
while not closed:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect("/run/playhouse/node.sock")
    hello = bytes([1, 16]) + sandbox + os.urandom(16) + bytes([1]) + os.urandom(32)
    stream.sendall(len(hello).to_bytes(4, "big") + hello)
    dialled.append(stream)
    closed = select.select(dialled[:1000], [], [], 0)[0]
print("closed")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_dials_without_end_takes_the_host_from_nobody() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        let flooding = spec();
        node.create(&flooding, 1).expect("made");
        let (_, mut agent) = node.agent();
        agent.ask(&format!("sh echo {} | base64 -d > flood.py", STANDARD.encode(FLOOD)));
        // Nobody reads from the agents' socket meanwhile.
        assert_eq!(agent.ask("sh python3 flood.py"), "closed\n", "the socket is full");
        let other = spec();
        node.create(&other, 1).expect("made");
        let begin = Instant::now();
        while node.agent().0.sandbox_id != other.sandbox_id {
            assert!(begin.elapsed() < LIMIT, "the other one's agent is not handed over");
        }
        for id in [flooding.sandbox_id, other.sandbox_id] {
            node.end(id, 1).expect("ended on the same connection");
        }
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

/// With the real agent: `PLAYHOUSE_TEST_AGENT=target/debug/playhouse-agent`.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_agent_proves_itself_in_time() {
    let Some(agent) = std::env::var_os("PLAYHOUSE_TEST_AGENT") else {
        eprintln!("skipped: PLAYHOUSE_TEST_AGENT names no agent");
        return;
    };
    let Some(mut world) = World::new(false) else { return };
    world.config.agent = agent.into();
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        for _ in 0..5 {
            let spec = spec();
            let begin = Instant::now();
            node.create(&spec, 1).expect("made");
            let made = begin.elapsed();
            let (hello, mut agent) = node.agent();
            let dialled = begin.elapsed();
            let key = handshake::token_hash(&spec.token);
            let nonce = [3; 32];
            let challenge = Challenge { epoch: 1, nonce, mac: handshake::owner_mac(&key, &hello, 1, &nonce) };
            agent.stream.write_all(&codec::encode_prefixed(&challenge).expect("encoded")).expect("written");
            let mut prefix = [0; 4];
            agent.stream.read_exact(&mut prefix).expect("an answer");
            let mut frame = vec![0; codec::prefixed_length(prefix, HANDSHAKE_BYTES).expect("a length")];
            agent.stream.read_exact(&mut frame).expect("a proof");
            let proof: Proof = codec::decode(&frame).expect("a proof");
            assert_eq!(proof.mac, handshake::agent_mac(&key, &hello, 1, &nonce));
            eprintln!("made in {made:?}, dialled after {dialled:?}, proven after {:?}", begin.elapsed());
            node.end(spec.sandbox_id, 1).expect("ended");
        }
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}
