import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const look = EditorView.theme(
  {
    "&": { height: "100%", color: "#d6dbe5", backgroundColor: "#14181f", fontSize: "13.5px" },
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55" },
    ".cm-content": { caretColor: "#7ee0b8", padding: "8px 0" },
    ".cm-cursor, .cm-dropCursor": { borderLeftColor: "#7ee0b8", borderLeftWidth: "2px" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
      backgroundColor: "#2c3a52",
    },
    ".cm-gutters": { backgroundColor: "#14181f", color: "#4e5869", border: "none" },
    ".cm-activeLine": { backgroundColor: "#1a2029" },
    ".cm-activeLineGutter": { backgroundColor: "#1a2029", color: "#98a3b5" },
    ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "#31415c", outline: "none" },
    ".cm-searchMatch": { backgroundColor: "#5a4a1f" },
    ".cm-searchMatch-selected": { backgroundColor: "#8a6d1c" },
    "&.cm-merge-a .cm-changedText": { background: "#5a2c30" },
    "&.cm-merge-b .cm-changedText": { background: "#234a38" },
    ".cm-panels": { backgroundColor: "#1b212b", color: "#d6dbe5", borderColor: "#2a3240" },
    ".cm-tooltip": { backgroundColor: "#1f2631", border: "1px solid #333d4d", borderRadius: "6px" },
    ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "#2c3a52", color: "#fff" },
  },
  { dark: true },
);

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "#c79bf0" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "#a3d39c" },
  { tag: [tags.number, tags.bool, tags.null, tags.atom], color: "#f0a875" },
  { tag: [tags.comment, tags.docComment], color: "#6b7688", fontStyle: "italic" },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName)], color: "#82b7ff" },
  { tag: [tags.definition(tags.variableName), tags.propertyName, tags.attributeName], color: "#d6dbe5" },
  { tag: [tags.typeName, tags.className, tags.namespace, tags.tagName], color: "#e8cf7f" },
  { tag: [tags.meta, tags.annotation], color: "#7ee0b8" },
  { tag: tags.heading, color: "#82b7ff", fontWeight: "bold" },
  { tag: tags.strong, fontWeight: "bold" },
  { tag: tags.emphasis, fontStyle: "italic" },
  { tag: [tags.link, tags.url], color: "#82b7ff", textDecoration: "underline" },
  { tag: tags.invalid, color: "#ff8080" },
]);

export const darkTheme = [look, syntaxHighlighting(colours)];
