import { THINK_END, type Stripped, type Turns } from './turns';

/**
 * Turns as a template of Go's text/template over what Ollama gives it: `.System` (all system messages, joined) and `.Messages` (those of
 * a role that follow one another joined). Lines break only where `{{-` takes the break away, and literal text is quoted, so that
 * nothing in it is taken for an action. Stripping white space ranges over integers, which Go has since 1.24.
 */
export function goTemplate(turns: Turns): string {
  const { head, system, greeting, toAssistant, toUser, ask, stripped, thinking } = turns;
  const told = system !== null && differ(stripped.told, stripped.user);
  const bodies = {
    system: system ? textBody(stripped.system, null) : null,
    told: told ? textBody(stripped.told, null) : null,
    user: textBody(stripped.user, null),
    assistant: textBody(stripped.assistant, thinking),
  };
  const defines = Object.entries(bodies).flatMap(([role, body]) => (body ? [`{{- define ${quoted(role)} }}`, ...body, '{{- end }}'] : []));
  const content = (role: keyof typeof bodies, value: string): string => (bodies[role] ? `{{- template ${quoted(role)} ${value} }}` : `{{- ${value} }}`);
  const sayTold = content('system', '$.System') + literal(system?.glue ?? '');
  const heads = either(system ? system.head : null, head);
  const greetings = greeting ? greetingLines(greeting, content('system', '$.System')) : [];
  const place = system?.before === 'last' ? '$last' : '(not $begun)';
  return [
    ...defines,
    '{{- $begun := false }}',
    '{{- range $i, $message := .Messages }}',
    '{{- $last := eq (len (slice $.Messages $i)) 1 }}',
    '{{- if eq .Role "user" }}',
    `{{- if $begun }}${literal(toUser)}{{- else }}${heads}{{- end }}`,
    ...(system ? [`{{- if and $.System ${place} }}${sayTold}`] : []),
    ...(told ? [content('told', '.Content'), '{{- else }}', content('user', '.Content'), '{{- end }}'] : []),
    ...(told ? [] : [...(system ? ['{{- end }}'] : []), content('user', '.Content')]),
    '{{- $begun = true }}',
    ask === toAssistant ? literal(ask) : `{{- if $last }}${literal(ask)}{{- else }}${literal(toAssistant)}{{- end }}`,
    '{{- else if eq .Role "assistant" }}',
    ...greetings,
    content('assistant', '.Content'),
    '{{- end }}',
    '{{- end }}',
  ].join('\n');
}

/** `told` where there is a system message and the template has a place for it, else `untold`. */
function either(told: string | null, untold: string): string {
  return told === null || told === untold ? literal(untold) : `{{- if $.System }}${literal(told)}{{- else }}${literal(untold)}{{- end }}`;
}

/** What stands before a first reply that nobody asked for. */
function greetingLines({ head, system }: NonNullable<Turns['greeting']>, said: string): string[] {
  const text = system ? `{{- if $.System }}${literal(system.head)}${said}${literal(system.glue)}{{- else }}${literal(head)}{{- end }}` : literal(head);
  return [`{{- if not $begun }}${text}{{- end }}`, '{{- $begun = true }}'];
}

function differ(a: Stripped, b: Stripped): boolean {
  return a.left !== b.left || a.right !== b.right;
}

/** The definition that prints a message's text without what the chat template strips; null where that is nothing. */
function textBody({ left, right }: Stripped, thinking: string | null): string[] | null {
  if (left === '' && right === '' && thinking === null) return null;
  return [
    '{{- $text := . }}',
    ...(thinking === null ? [] : afterThinking(thinking)),
    ...stripLoop(left, 'slice $text 0 1', 'slice $text 1'),
    // Go templates cannot subtract; the length of all but the first byte is the last one's place.
    ...stripLoop(right, 'slice $text (len (slice $text 1))', 'slice $text 0 (len (slice $text 1))'),
    '{{- $text }}',
  ];
}

/** Drops bytes of `$text` while the one that `end` picks is among `spaces`. */
function stripLoop(spaces: string, end: string, rest: string): string[] {
  if (spaces === '') return [];
  return [`{{- range len $text }}{{ if eq (${end}) ${[...spaces].map(quoted).join(' ')} }}{{ $text = ${rest} }}{{ else }}{{ break }}{{ end }}{{ end }}`];
}

/** Leaves in `$text` what follows its last `</think>`. */
function afterThinking(spaces: string): string[] {
  const length = THINK_END.length;
  return [
    '{{- $whole := $text }}{{ $thought := false }}',
    '{{- range $at := len $whole }}{{ $rest := slice $whole $at }}',
    `{{- if and (ge (len $rest) ${length}) (eq (slice $rest 0 1) "<") }}`,
    `{{- if eq (slice $rest 0 ${length}) ${quoted(THINK_END)} }}{{ $text = slice $rest ${length} }}{{ $thought = true }}{{ end }}`,
    '{{- end }}{{ end }}',
    ...(spaces === '' ? [] : ['{{- if $thought }}', ...stripLoop(spaces, 'slice $text 0 1', 'slice $text 1'), '{{- end }}']),
  ];
}

function literal(text: string): string {
  return text === '' ? '' : `{{- ${quoted(text)} }}`;
}

/** A Go string. Ollama's reader of Modelfiles drops characters that do not print, so they are escaped. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e\p{L}\p{M}\p{N}\p{P}\p{S}]/gu, (character) => {
    const hex = character.codePointAt(0)!.toString(16);
    return hex.length > 4 ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`;
  });
}
