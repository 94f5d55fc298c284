// Types of the WebSocket messages, generated from the contract (`sdk-spec/asyncapi.json`, which is
// itself generated from `sdk-spec/src/ws.rs`). `npm run generate` writes src/protocol.gen.ts; a
// test compares the two. Knows the part of JSON Schema that the contract uses and refuses others.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format } from 'prettier';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PRETTIER = { parser: 'typescript', printWidth: 100, singleQuote: true, trailingComma: 'all' };
const ENVELOPE = ['seq', 'ack'];

const last = (ref) => ref.split('/').at(-1);
const pascal = (name) => name.replace(/(^|_)(\w)/g, (_, _sep, letter) => letter.toUpperCase());
// Rust's intra-doc links mean nothing here.
const comment = (text = '') =>
  text ? `/** ${text.replace(/\[(`[^`]*`)\]/g, '$1').replace(/\n/g, '\n * ')} */\n` : '';

function type(schema) {
  if (schema.$ref) return last(schema.$ref);
  if (schema.allOf?.length === 1) return type(schema.allOf[0]);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return either.map(type).join(' | ');
  if (Array.isArray(schema.type)) {
    return schema.type.map((one) => type({ ...schema, type: one })).join(' | ');
  }
  if (schema.type === 'array') return `(${type(schema.items)})[]`;
  if (schema.type === 'object') return object(schema);
  const simple = {
    string: 'string',
    integer: 'number',
    number: 'number',
    boolean: 'boolean',
    null: 'null',
  };
  if (simple[schema.type]) return simple[schema.type];
  throw new Error(`schema not understood: ${JSON.stringify(schema)}`);
}

const isTag = ([name, { const: tag }]) => tag !== undefined && (name === 'type' || name === 'rule');

function object({ properties = {}, required = [] }, without = []) {
  const fields = Object.entries(properties)
    .filter(([name]) => !without.includes(name))
    // The tag first, as in the Rust enum.
    .sort((a, b) => Number(isTag(b)) - Number(isTag(a)))
    .map(([name, schema]) => {
      const optional = required.includes(name) ? '' : '?';
      return `${comment(schema.description)}${name}${optional}: ${type(schema)};`;
    });
  return `{\n${fields.join('\n')}\n}`;
}

function message(name, { payload, summary }) {
  return `${comment(summary)}export interface ${pascal(name)}Message ${object(payload, ENVELOPE)}\n`;
}

function union(name, text, messages) {
  const members = messages.map(({ $ref }) => `${pascal(last($ref))}Message`);
  return `${comment(text)}export type ${name} = ${members.join(' | ')};\n`;
}

function schema(name, definition) {
  const text = comment(definition.description);
  if (definition.type === 'object')
    return `${text}export interface ${name} ${object(definition)}\n`;
  return `${text}export type ${name} = ${type(definition)};\n`;
}

/** The generated file as text. */
export async function generate() {
  const { components, operations } = JSON.parse(readFileSync(here('../../asyncapi.json'), 'utf8'));
  const { fromClient, fromServer } = operations;
  const types = fromServer.messages.map(({ $ref }) => JSON.stringify(last($ref)));
  const text = [
    '// Generated from sdk-spec/asyncapi.json by scripts/protocol.mjs (npm run generate).\n',
    ...Object.entries(components.schemas).map(([name, definition]) => schema(name, definition)),
    ...Object.entries(components.messages).map(([name, definition]) => message(name, definition)),
    union('AnyClientMessage', 'What a client says.', fromClient.messages),
    union('ServerMessage', 'What the server says.', fromServer.messages),
    `/** Every message type of the server. */
     export const SERVER_MESSAGE_TYPES: readonly ServerMessage['type'][] = [${types.join(', ')}];\n`,
  ].join('\n');
  return format(text, PRETTIER);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(here('../src/protocol.gen.ts'), await generate());
}
