import { createEffect, createMemo, For, onMount, Show } from "solid-js";
import { mayEdit, type Tab } from "../../core/model/state.ts";
import { basename, extension } from "../../core/paths.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
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
      props.bench.documents.show(shown);
      if (shown !== null && state().dialog === null) props.bench.documents.focus();
    });
  });
  return (
    <section class="editor-pane" aria-label="Editor">
      <div class="tabs" role="tablist" aria-label="Open files">
        <For each={state().tabs.map((tab) => tab.fileId)}>
          {(fileId) => <FileTab bench={props.bench} fileId={fileId} />}
        </For>
        <span class="grow" />
        <Show when={text() && mayEdit(state())}>
          <IconButton
            icon="save"
            label="Save"
            disabled={!active()?.dirty}
            onClick={() => {
              const tab = active();
              if (tab !== undefined) void props.bench.files.save(tab.fileId);
            }}
          />
        </Show>
      </div>
      <Show when={active()?.stale === "changed" && active()?.dirty}>
        <p class="stale" role="status">
          Somebody else changed this file. Saving asks which text wins.
        </p>
      </Show>
      <Show when={active()?.stale === "removed"}>
        <p class="stale" role="status">
          This file was deleted. Saving makes it anew.
        </p>
      </Show>
      <div class="editor-host" ref={host} hidden={!text()} />
      <Show when={active()}>
        {(tab) => <Show when={tab().unreadable}>{(why) => <Unreadable tab={tab()} why={why()} />}</Show>}
      </Show>
      <Show when={active() === undefined}>
        <p class="placeholder quiet">Open a file, or start a terminal.</p>
      </Show>
    </section>
  );
}

function FileTab(props: { bench: Workbench; fileId: string }) {
  const state = () => props.bench.state;
  const tab = () => state().tabs.find((each) => each.fileId === props.fileId);
  const name = () => basename(tab()?.path ?? "");
  const mark = () => (tab()?.dirty ? " (unsaved)" : "");
  return (
    <div class="tab" classList={{ active: state().activeFile === props.fileId }}>
      <button
        type="button"
        role="tab"
        aria-selected={state().activeFile === props.fileId}
        aria-label={`${name()}${mark()}`}
        title={tab()?.path}
        onClick={() => props.bench.context.dispatch({ type: "tab_active", fileId: props.fileId })}
        onAuxClick={(event) => event.button === 1 && props.bench.files.close(props.fileId)}
      >
        <span class="dirty-mark" aria-hidden="true" hidden={!tab()?.dirty}>
          ●
        </span>
        {name()}
      </button>
      <IconButton icon="close" label={`Close ${name()}`} onClick={() => props.bench.files.close(props.fileId)} />
    </div>
  );
}

function Unreadable(props: { tab: Tab; why: string }) {
  const raw = () => `/api/files/${props.tab.fileId}/raw`;
  return (
    <div class="placeholder">
      <Show when={IMAGES.has(extension(props.tab.path))} fallback={<p class="quiet">{props.why}</p>}>
        <img class="picture" src={raw()} alt={basename(props.tab.path)} />
      </Show>
      <a class="button" href={raw()} download={basename(props.tab.path)}>
        <Icon name="download" />
        Download
      </a>
    </div>
  );
}
