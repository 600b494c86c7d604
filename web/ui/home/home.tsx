import { createResource, createSignal, For, Match, Show, Switch } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { Me, Workspace } from "../../core/api-types.ts";
import { Problem, sentence } from "../../core/problem.ts";
import { ShareDialog } from "../share/share-dialog.tsx";
import { Icon } from "../widgets/icons.tsx";
import { Confirm, Modal, ModalButtons } from "../widgets/modal.tsx";
import { Trouble } from "../widgets/trouble.tsx";
import { CreateForm } from "./create-form.tsx";
import { WorkspaceRow } from "./workspace-row.tsx";

type Question = { kind: "share" | "delete" | "rename"; workspace: Workspace };

/** The list of workspaces, and the form that makes one. */
export function Home(props: { api: Api; me: Me; onSignedOut: () => void }) {
  const [templates, { refetch: refetchTemplates }] = createResource(() => props.api.templates());
  const [workspaces, { refetch }] = createResource(async () =>
    (await props.api.workspaces()).sort((a, b) => Date.parse(b.updated_at) - Date.parse(a.updated_at)),
  );
  const [question, setQuestion] = createSignal<Question | null>(null);
  const [trouble, setTrouble] = createSignal<string | null>(null);
  const asked = (kind: Question["kind"]) => {
    const now = question();
    return now?.kind === kind ? now.workspace : undefined;
  };
  const close = (): void => {
    setQuestion(null);
    setTrouble(null);
  };
  const attempt = async (work: () => Promise<unknown>): Promise<boolean> => {
    setTrouble(null);
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 401) props.onSignedOut();
      else setTrouble(sentence(error));
      return false;
    }
  };
  const change = async (work: () => Promise<unknown>): Promise<void> => {
    if (!(await attempt(work))) return;
    close();
    await refetch();
  };
  const failed = () => workspaces.error ?? templates.error;
  return (
    <div class="home">
      <header class="home-header">
        <img src="/icon.svg" alt="" width="28" height="28" />
        <h1>Playhouse</h1>
        <span class="grow" />
        <span class="quiet">signed in as {props.me.name}</span>
        <form method="post" action="/logout">
          <button type="submit" class="button small">
            <Icon name="leave" />
            Sign out
          </button>
        </form>
      </header>
      <main class="home-main">
        <Trouble text={failed() ? sentence(failed()) : null}>
          <button
            type="button"
            class="button small"
            onClick={() => {
              void refetch();
              void refetchTemplates();
            }}
          >
            Try again
          </button>
        </Trouble>
        <section class="card" aria-label="Your workspaces">
          <h2>Workspaces</h2>
          <ul class="workspaces" aria-label="Workspaces">
            <For
              each={workspaces.error ? [] : workspaces()}
              fallback={
                <li class="quiet empty">
                  <Switch>
                    <Match when={workspaces.loading}>Loading…</Match>
                    <Match when={!workspaces.error}>No workspaces yet. Make your first one below.</Match>
                  </Switch>
                </li>
              }
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
        </section>
        <CreateForm api={props.api} templates={templates.error ? [] : (templates() ?? [])} attempt={attempt} />
        <Show when={question() === null}>
          <Trouble text={trouble()} />
        </Show>
      </main>
      <Show when={asked("rename")} keyed>
        {(workspace) => (
          <Modal title={`Rename ${workspace.name}`} onClose={close}>
            <form
              onSubmit={(event) => {
                event.preventDefault();
                const name = String(new FormData(event.currentTarget).get("name")).trim();
                void change(() => props.api.updateWorkspace(workspace.id, { name }));
              }}
            >
              <label class="field">
                <span>Name</span>
                <input name="name" required maxLength={200} value={workspace.name} data-focus autocomplete="off" />
              </label>
              <Trouble text={trouble()} />
              <ModalButtons>
                <button type="button" class="button" onClick={close}>
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
          <Confirm
            title={`Delete ${workspace.name}`}
            text={
              <>
                <p>Its files and whatever runs in it are deleted for good.</p>
                <Trouble text={trouble()} />
              </>
            }
            yes="Delete"
            onYes={() => void change(() => props.api.deleteWorkspace(workspace.id))}
            onClose={close}
          />
        )}
      </Show>
      <Show when={asked("share")} keyed>
        {(workspace) => (
          <ShareDialog api={props.api} workspace={workspace} onChanged={() => void refetch()} onClose={close} />
        )}
      </Show>
    </div>
  );
}
