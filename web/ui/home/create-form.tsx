import { createSignal, For, Show } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { Template } from "../../core/api-types.ts";
import { commandTitle } from "../../core/command.ts";
import { go } from "../router.ts";
import { uuid } from "../uuid.ts";

/** The form that makes a workspace: a name, and what it starts from. */
export function CreateForm(props: {
  api: Api;
  templates: readonly Template[];
  attempt: (work: () => Promise<unknown>) => Promise<boolean>;
}) {
  const [busy, setBusy] = createSignal(false);
  // One key per form: pressing the button again after a lost answer must not make a second workspace.
  let key = uuid();
  const create = async (event: SubmitEvent & { currentTarget: HTMLFormElement }): Promise<void> => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    await props.attempt(async () => {
      const name = String(form.get("name")).trim();
      const workspace = await props.api.createWorkspace(name, String(form.get("template")), key);
      key = uuid();
      go(`/w/${workspace.id}`);
    });
    setBusy(false);
  };
  return (
    <form class="create" aria-label="New workspace" onSubmit={create} onInput={() => (key = uuid())}>
      <h2>New workspace</h2>
      <fieldset class="templates">
        <legend class="quiet">Template</legend>
        <For each={props.templates}>
          {(template, at) => (
            <label class="template">
              <input type="radio" name="template" value={template.name} checked={at() === 0} />
              <span class="template-name">{template.name}</span>
              <span class="quiet">{template.description}</span>
              <code class="quiet">{commandTitle(template.run_command.replace("{file}", "…"))}</code>
            </label>
          )}
        </For>
      </fieldset>
      <div class="create-name">
        <label class="field grow">
          <span>Name</span>
          <input name="name" required maxLength={200} placeholder="my-project" autocomplete="off" spellcheck={false} />
        </label>
        <button type="submit" class="button primary" disabled={busy() || props.templates.length === 0}>
          <Show when={busy()} fallback="Create workspace">
            Creating…
          </Show>
        </button>
      </div>
    </form>
  );
}
