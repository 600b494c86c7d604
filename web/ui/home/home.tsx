import { createResource, createSignal, For, Show } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { Me, Workspace } from "../../core/api-types.ts";
import { sentence } from "../../core/problem.ts";
import { go } from "../router.ts";
import { ShareDialog } from "../share/share-dialog.tsx";
import { Modal, ModalButtons } from "../widgets/modal.tsx";
import { WorkspaceRow } from "./workspace-row.tsx";

type Question = { kind: "share" | "delete" | "rename"; workspace: Workspace };

/** The list of workspaces, and the form that makes one. */
export function Home(props: { api: Api; me: Me }) {
  const [templates] = createResource(() => props.api.templates());
  const [workspaces, { refetch }] = createResource(() => props.api.workspaces());
  const [question, setQuestion] = createSignal<Question | null>(null);
  const [trouble, setTrouble] = createSignal<string | null>(null);
  const asked = (kind: Question["kind"]) => {
    const now = question();
    return now?.kind === kind ? now.workspace : undefined;
  };
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    setTrouble(null);
    try {
      await work();
      setQuestion(null);
      await refetch();
    } catch (error) {
      setTrouble(sentence(error));
    }
  };
  // One key per form: pressing the button again after a lost answer must not make a second workspace.
  let key = crypto.randomUUID();
  const create = (event: SubmitEvent & { currentTarget: HTMLFormElement }): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    void attempt(async () => {
      const workspace = await props.api.createWorkspace(String(form.get("name")), String(form.get("template")), key);
      key = crypto.randomUUID();
      go(`/w/${workspace.id}`);
    });
  };
  return (
    <main class="home">
      <header class="home-header">
        <img src="/icon.svg" alt="" width="28" height="28" />
        <h1>Playhouse</h1>
        <span class="quiet">signed in as {props.me.name}</span>
      </header>
      <form class="create" aria-label="New workspace" onSubmit={create} onInput={() => (key = crypto.randomUUID())}>
        <label class="field grow">
          <span>Name</span>
          <input name="name" required maxLength={100} placeholder="my-project" autocomplete="off" />
        </label>
        <label class="field">
          <span>Template</span>
          <select name="template" disabled={templates.loading}>
            <For each={templates.error ? [] : templates()}>
              {(template) => (
                <option value={template.name} title={template.description}>
                  {template.name}
                </option>
              )}
            </For>
          </select>
        </label>
        <button type="submit" class="button primary" disabled={templates.loading || Boolean(templates.error)}>
          Create workspace
        </button>
      </form>
      <Show when={trouble()}>
        {(text) => (
          <p class="trouble" role="alert">
            {text()}
          </p>
        )}
      </Show>
      <Show when={workspaces.error}>
        {(error) => (
          <p class="trouble" role="alert">
            {sentence(error())}
          </p>
        )}
      </Show>
      <ul class="workspaces" aria-label="Workspaces">
        <For
          each={workspaces.error ? [] : workspaces()}
          fallback={<li class="quiet empty">{workspaces.loading ? "Loading…" : "No workspaces yet."}</li>}
        >
          {(workspace) => (
            <WorkspaceRow
              workspace={workspace}
              onRename={() => setQuestion({ kind: "rename", workspace })}
              onShare={() => setQuestion({ kind: "share", workspace })}
              onDelete={() => setQuestion({ kind: "delete", workspace })}
            />
          )}
        </For>
      </ul>
      <Show when={asked("rename")} keyed>
        {(workspace) => (
          <Modal title="Rename workspace" onClose={() => setQuestion(null)}>
            <form
              onSubmit={(event) => {
                event.preventDefault();
                const name = String(new FormData(event.currentTarget).get("name"));
                void attempt(() => props.api.updateWorkspace(workspace.id, { name }));
              }}
            >
              <label class="field">
                <span>Name</span>
                <input name="name" required maxLength={100} value={workspace.name} data-focus autocomplete="off" />
              </label>
              <ModalButtons>
                <button type="button" class="button" onClick={() => setQuestion(null)}>
                  Cancel
                </button>
                <button type="submit" class="button primary">
                  Rename
                </button>
              </ModalButtons>
            </form>
          </Modal>
        )}
      </Show>
      <Show when={asked("delete")} keyed>
        {(workspace) => (
          <Modal title="Delete workspace" onClose={() => setQuestion(null)}>
            <p>“{workspace.name}”, its files and whatever runs in it are deleted for good.</p>
            <ModalButtons>
              <button type="button" class="button" data-focus onClick={() => setQuestion(null)}>
                Cancel
              </button>
              <button
                type="button"
                class="button danger"
                onClick={() => void attempt(() => props.api.deleteWorkspace(workspace.id))}
              >
                Delete
              </button>
            </ModalButtons>
          </Modal>
        )}
      </Show>
      <Show when={asked("share")} keyed>
        {(workspace) => (
          <ShareDialog
            api={props.api}
            workspace={workspace}
            onChanged={() => void refetch()}
            onClose={() => setQuestion(null)}
          />
        )}
      </Show>
    </main>
  );
}
