import { createEffect, createMemo, For, onMount, Show } from "solid-js";
import { mayEdit, type Tab as OpenFile } from "../../core/model/state.ts";
import { basename, extension } from "../../core/paths.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
import { Tab, TabList } from "../widgets/tabs.tsx";
import type { Workbench } from "./workbench.ts";

const IMAGES = new Set(["png", "jpg", "jpeg", "gif", "webp", "avif", "bmp", "ico"]);

/** The open files: tabs, the editor, and what stands there when a file is no text. */
export function EditorPane(props: { bench: Workbench }) {
  const state = () => props.bench.state;
  const active = () => state().tabs.find((tab) => tab.fileId === state().activeFile);
  const text = () => active()?.unreadable === null;
  let host!: HTMLDivElement;
  onMount(() => props.bench.documents.mount(host));
  const shownId = createMemo(() => (text() ? (active()?.fileId ?? null) : null));
  createEffect(() => {
    const shown = shownId();
    // After the tab's own rendering, so that the editor measures itself where it will stand.
    queueMicrotask(() => {
      const another = props.bench.documents.show(shown);
      if (another && state().dialog === null) props.bench.documents.focus();
    });
  });
  return (
    <section class="editor-pane" aria-label="Editor">
      <div class="tabs">
        <Show when={state().tabs.length > 0}>
          <TabList label="Open files">
            <For each={state().tabs.map((tab) => tab.fileId)}>
              {(fileId) => <FileTab bench={props.bench} fileId={fileId} />}
            </For>
          </TabList>
        </Show>
        <span class="grow" />
        <Show when={text()}>
          <div class="tab-tools">
            <Show when={mayEdit(state())} fallback={<span class="badge">read-only</span>}>
              <IconButton
                icon="save"
                label="Save"
                disabled={!active()?.dirty || active()?.saving === true}
                onClick={() => {
                  const tab = active();
                  if (tab !== undefined) void props.bench.files.save(tab.fileId);
                }}
              />
            </Show>
          </div>
        </Show>
      </div>
      <Show when={active()}>{(tab) => <Stale bench={props.bench} tab={tab()} />}</Show>
      <div class="editor-host" ref={host} hidden={!text()} />
      <Show when={active()}>
        {(tab) => (
          <Show when={tab().unreadable}>{(why) => <Unreadable bench={props.bench} tab={tab()} why={why()} />}</Show>
        )}
      </Show>
      <Show when={active() === undefined}>
        <Nothing bench={props.bench} />
      </Show>
    </section>
  );
}

/** What happened to the open file elsewhere while it was edited here. */
function Stale(props: { bench: Workbench; tab: OpenFile }) {
  return (
    <>
      <Show when={props.tab.dirty && !mayEdit(props.bench.state)}>
        <div class="bar bar-warn" role="status">
          <span class="grow">You may only watch this workspace now. What you wrote here is not saved.</span>
          <button type="button" class="button small" onClick={() => props.bench.files.keepCopy(props.tab.fileId)}>
            Keep a copy
          </button>
        </div>
      </Show>
      <Show when={props.tab.stale === "changed" && props.tab.dirty && mayEdit(props.bench.state)}>
        <div class="bar bar-warn" role="status">
          <span class="grow">Somebody else changed this file. Saving asks which text wins.</span>
          <button type="button" class="button small" onClick={() => void props.bench.files.compare(props.tab.fileId)}>
            Compare
          </button>
        </div>
      </Show>
      <Show when={props.tab.stale === "removed"}>
        <div class="bar bar-warn" role="status">
          <span class="grow">
            This file was deleted.{props.tab.dirty && mayEdit(props.bench.state) ? " Saving makes it anew." : ""}
          </span>
          <Show when={mayEdit(props.bench.state) && props.tab.unreadable === null}>
            <button
              type="button"
              class="button small"
              onClick={() => void props.bench.files.overwrite(props.tab.fileId, null)}
            >
              Make it anew
            </button>
          </Show>
          <button type="button" class="button small" onClick={() => props.bench.files.close(props.tab.fileId)}>
            Close
          </button>
        </div>
      </Show>
    </>
  );
}

function FileTab(props: { bench: Workbench; fileId: string }) {
  const state = () => props.bench.state;
  const tab = () => state().tabs.find((each) => each.fileId === props.fileId);
  const name = () => basename(tab()?.path ?? "");
  return (
    <Tab
      selected={state().activeFile === props.fileId}
      label={tab()?.dirty ? `${name()} (unsaved)` : name()}
      title={tab()?.path}
      closeTitle="Close"
      onSelect={() => props.bench.files.activate(props.fileId)}
      onClose={() => props.bench.files.close(props.fileId)}
    >
      <span class="dirty-mark" aria-hidden="true" hidden={!tab()?.dirty}>
        ●
      </span>
      <span class="tab-name">{name()}</span>
    </Tab>
  );
}

function Unreadable(props: { bench: Workbench; tab: OpenFile; why: string }) {
  const raw = () => `/api/files/${props.tab.fileId}/raw`;
  // Another version has another address, so that the picture follows the file.
  const version = () => props.bench.state.files.get(props.tab.fileId)?.etag ?? props.tab.etag;
  return (
    <div class="placeholder">
      <Show when={IMAGES.has(extension(props.tab.path))} fallback={<p class="quiet">{props.why}</p>}>
        <img class="picture" src={`${raw()}?v=${encodeURIComponent(version())}`} alt={basename(props.tab.path)} />
      </Show>
      <a class="button" href={raw()} download={basename(props.tab.path)}>
        <Icon name="download" />
        Download
      </a>
    </div>
  );
}

function Nothing(props: { bench: Workbench }) {
  const { dispatch } = props.bench.context;
  const create = (): void => dispatch({ type: "dialog", dialog: { kind: "create", directory: "/", folder: false } });
  return (
    <div class="placeholder">
      <Show
        when={mayEdit(props.bench.state)}
        fallback={<p class="quiet">Open a file to read it. You may watch, not change.</p>}
      >
        <p class="quiet">Nothing is open.</p>
        <div class="placeholder-actions">
          <button type="button" class="button" onClick={create}>
            <Icon name="fileAdd" />
            Create a file
          </button>
          <Show when={props.bench.state.files.size > 0}>
            <button type="button" class="button" onClick={() => dispatch({ type: "dialog", dialog: { kind: "open" } })}>
              <Icon name="search" />
              Open a file <kbd>Ctrl+P</kbd>
            </button>
          </Show>
        </div>
      </Show>
    </div>
  );
}
