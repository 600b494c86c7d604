//! A sandbox's life on its host, and the host's own.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_lives_freezes_and_ends() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let run_dir = world.run_dir();
    blocking(move || {
        let FromHost::Welcome { isolation, .. } = &node.welcome else { panic!("{:?}", node.welcome) };
        assert_eq!(isolation, &Ok("hardened-container".to_owned()));
        let spec = spec();
        let id = spec.sandbox_id;
        let begin = Instant::now();
        node.create(&spec, 1).expect("made");
        eprintln!("made in {:?}", begin.elapsed());
        let (hello, mut agent) = node.agent();
        eprintln!("an agent after {:?}", begin.elapsed());
        assert_eq!((hello.sandbox_id, hello.attempt), (id, 1));
        assert_eq!(agent.ask("token"), "ab".repeat(32));
        assert_eq!(agent.ask("sh id -u; pwd; python3 -c 'print(6*7)'"), "1000\n/workspace\n42\n");
        assert_eq!(agent.ask("sh dd if=/dev/zero of=/workspace/x bs=1M count=10 2>/dev/null; sync"), "");
        node.send(&ToHost::AskUsage { sandbox_id: id });
        let usage = node.wait(|frame| match frame {
            FromHost::Usage { sandbox_id, usage } if sandbox_id == id && usage.disk_bytes > 10 * MIB => Some(usage),
            _ => None,
        });
        assert!(usage.memory_bytes > MIB && usage.cpu_micros > 1000 && usage.oom_kills == 0, "{usage:?}");

        node.freeze(id, true).expect("frozen");
        agent.tell("token");
        agent.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
        assert!(agent.hear().is_err(), "a frozen program says nothing");
        agent.stream.set_read_timeout(Some(LIMIT)).expect("set");
        node.freeze(id, false).expect("thawed");
        assert_eq!(agent.hear().expect("an answer"), "ab".repeat(32));

        node.freeze(id, true).expect("frozen again");
        let begin = Instant::now();
        node.end(id, 1).expect("ended, though frozen");
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        node.end(id, 1).expect("ended before");
        assert!(matches!(node.create(&spec, 2), Err(HostError::Failed { .. })), "one life");
        assert_eq!(node.freeze(id, true), Err(HostError::Unknown));
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
    assert!(!run_dir.exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_leaves_its_sandboxes_to_the_next() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let spec = spec();
    let id = spec.sandbox_id;
    let (mut node, agent) = blocking(move || {
        node.create(&spec, 7).expect("made");
        let (_, agent) = node.agent();
        (node, agent)
    })
    .await;
    // As hard as a process can die from within itself: no line of the host's own runs any more.
    host.abort();
    assert!(host.await.expect_err("aborted").is_cancelled());
    let mut agent = blocking(move || {
        assert!(node.try_receive().is_err() || node.try_receive().is_err() || node.try_receive().is_err());
        let mut agent = agent;
        assert_eq!(agent.ask("sh echo alive"), "alive\n", "the descriptor was handed over and needs no host");
        agent
    })
    .await;

    let host = world.host();
    let node = world.node(1).await;
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 7, ended: None }]);
    blocking(move || {
        let mut node = node;
        assert_eq!(node.end(id, 6), Err(HostError::Fenced { seen: 7 }));
        assert_eq!(agent.ask("sh ls /run/playhouse"), "egress.sock\nnode.sock\n");
        drop(agent);
        let (hello, mut agent) = node.agent();
        assert_eq!((hello.sandbox_id, hello.attempt), (id, 2), "it dialled the new host's socket");
        agent.tell("exit 7");
        assert_eq!(node.ended(id), EndCause::AgentExited { status: 7 });
        drop(node);
    })
    .await;
    let node = world.node(2).await;
    let ended = Some(EndCause::AgentExited { status: 7 });
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 7, ended }], "held until it is ended");
    blocking(move || {
        let mut node = node;
        node.end(id, 8).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_whose_record_cannot_be_read_is_left_to_a_host_that_can() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let spec = spec();
    let id = spec.sandbox_id;
    let mut agent = blocking(move || {
        node.create(&spec, 1).expect("made");
        let (_, agent) = node.agent();
        node.send(&ToHost::Leave);
        agent
    })
    .await;
    host.await.expect("the task").expect("left");
    let record = world.data.path().join("host/sandboxes").join(id.to_string()).join("state.json");
    let whole = fs::read(&record).expect("a record");
    fs::write(&record, b"{").expect("written");

    let host = world.host();
    let mut node = world.node(2).await;
    assert_eq!(node.held(), []);
    let mut agent = blocking(move || {
        assert_eq!(agent.ask("sh echo alive"), "alive\n", "it goes on");
        let other = SandboxSpec { sandbox_id: Uuid::now_v7(), ..self::spec() };
        node.create(&other, 1).expect("made");
        let (_, mut another) = node.agent();
        let users = "sh cat /proc/self/uid_map";
        assert_ne!(agent.ask(users), another.ask(users), "its users are no other's");
        assert!(node.create(&SandboxSpec { sandbox_id: id, ..other.clone() }, 2).is_err(), "not made twice");
        node.end(other.sandbox_id, 1).expect("ended");
        node.send(&ToHost::Leave);
        agent
    })
    .await;
    host.await.expect("the task").expect("left");

    fs::write(&record, whole).expect("written");
    let host = world.host();
    let mut node = world.node(3).await;
    assert_eq!(node.held(), [Held { sandbox_id: id, epoch: 1, ended: None }]);
    blocking(move || {
        assert_eq!(agent.ask("sh echo alive"), "alive\n");
        node.end(id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
    assert!(!world.run_dir().exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hog_is_killed_alone_and_an_agent_that_hogs_ends_its_sandbox() {
    let Some(world) = World::new(false) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    blocking(move || {
        let spec = spec();
        let id = spec.sandbox_id;
        node.create(&spec, 1).expect("made");
        let (_, mut agent) = node.agent();
        let said = agent.ask("sh python3 -c 'x=[b\"x\"*(1<<20) for _ in range(1000)]' 2>&1; echo status $?");
        assert!(said.contains("status 137"), "{said}");
        node.send(&ToHost::AskUsage { sandbox_id: id });
        node.wait(|frame| match frame {
            FromHost::Usage { usage, .. } if usage.oom_kills > 0 => Some(()),
            _ => None,
        });
        agent.tell("hog");
        assert_eq!(node.ended(id), EndCause::OutOfMemory);
        node.end(id, 1).expect("ended");
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_isolation_the_agent_is_a_plain_child() {
    let Some(world) = World::new(true) else { return };
    let host = world.host();
    let mut node = world.node(1).await;
    let data = world.data.path().to_owned();
    blocking(move || {
        let FromHost::Welcome { isolation, .. } = &node.welcome else { panic!("{:?}", node.welcome) };
        assert_eq!(isolation, &Ok("none".to_owned()));
        let spec = spec();
        let id = spec.sandbox_id;
        node.create(&spec, 1).expect("made");
        let (_, mut agent) = node.agent();
        assert_eq!(agent.ask("token"), "ab".repeat(32));
        let workspace = data.join("host/sandboxes").join(id.to_string()).join("workspace");
        assert_eq!(agent.ask("sh pwd").trim(), workspace.to_str().expect("UTF-8"));
        agent.ask("sh sleep 1000 >/dev/null 2>&1 & echo $! > pid");
        let pid = fs::read_to_string(workspace.join("pid")).expect("read").trim().to_owned();
        node.wait(|frame| match frame {
            FromHost::Usage { usage, .. } if usage.memory_bytes > MIB => Some(()),
            _ => None,
        });
        node.end(id, 1).expect("ended");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "what it started is dead too: {stat}");
        assert!(!workspace.exists());
        node.send(&ToHost::Leave);
    })
    .await;
    host.await.expect("the task").expect("left");
}
