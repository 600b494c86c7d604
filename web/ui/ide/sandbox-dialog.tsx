import { createResource, createSignal, onCleanup, Show } from "solid-js";
import type { Sandbox } from "../../core/api-types.ts";
import { hasEnded, reasonText } from "../../core/model/sandbox.ts";
import { mayEdit } from "../../core/model/state.ts";
import { sizeText } from "../../core/size.ts";
import { Modal, ModalButtons } from "../widgets/modal.tsx";
import type { Workbench } from "./workbench.ts";

/** How often the figures are asked for while they are looked at, in milliseconds. */
const REFRESH_MS = 2000;

/** The sandbox: how it is, what it uses, and what can be done with it. */
export function SandboxDialog(props: { bench: Workbench; onClose: () => void }) {
  const known = () => props.bench.state.sandbox;
  const [sandbox, { refetch }] = createResource(
    () => known()?.id,
    (id) => props.bench.context.api.sandbox(id).catch(() => undefined),
  );
  /** Ending is asked for twice: what runs is lost. */
  const [sure, setSure] = createSignal(false);
  const timer = setInterval(() => void refetch(), REFRESH_MS);
  onCleanup(() => clearInterval(timer));
  const status = () => known()?.status;
  const alive = () => {
    const now = status();
    return now !== undefined && !hasEnded(now);
  };
  const act = (work: () => Promise<void>) => async (): Promise<void> => {
    await work();
    await refetch();
  };
  return (
    <Modal title="Sandbox" onClose={props.onClose}>
      <Show
        when={known()}
        fallback={<p>There is none yet. Running a file or opening a terminal makes one within a moment.</p>}
      >
        <dl class="facts">
          <dt>State</dt>
          <dd>{status()}</dd>
          <Show when={known()?.reason}>
            {(reason) => (
              <>
                <dt>Because</dt>
                <dd>{reasonText(reason())}</dd>
              </>
            )}
          </Show>
          <Show when={sandbox.latest}>{(now) => <Facts sandbox={now()} />}</Show>
        </dl>
      </Show>
      <ModalButtons>
        <Show when={mayEdit(props.bench.state)}>
          <Show when={alive() && status() !== "suspended"}>
            <button type="button" class="button" onClick={act(() => props.bench.suspendSandbox())}>
              Suspend
            </button>
          </Show>
          <Show when={alive()}>
            <Show
              when={sure()}
              fallback={
                <button type="button" class="button danger" onClick={() => setSure(true)}>
                  End sandbox…
                </button>
              }
            >
              <button
                type="button"
                class="button danger"
                onClick={act(async () => {
                  setSure(false);
                  await props.bench.endSandbox();
                })}
              >
                End it and all that runs
              </button>
            </Show>
          </Show>
          <Show when={!alive() || status() === "suspended"}>
            <button type="button" class="button" onClick={act(() => props.bench.startSandbox())}>
              {alive() ? "Resume" : "Start"}
            </button>
          </Show>
        </Show>
        <button type="button" class="button primary" data-focus onClick={() => props.onClose()}>
          Done
        </button>
      </ModalButtons>
    </Modal>
  );
}

function Facts(props: { sandbox: Sandbox }) {
  return (
    <>
      <dt>Type</dt>
      <dd>
        {props.sandbox.instance_type}, {props.sandbox.isolation}
      </dd>
      <dt>CPU time</dt>
      <dd>{props.sandbox.usage.cpu_seconds.toFixed(1)} s</dd>
      <dt>Memory</dt>
      <dd>{sizeText(props.sandbox.usage.memory_bytes)}</dd>
      <dt>Disk</dt>
      <dd>{sizeText(props.sandbox.usage.disk_bytes)}</dd>
      <dt>Since</dt>
      <dd>{new Date(props.sandbox.created_at).toLocaleString()}</dd>
    </>
  );
}
