// Requests made up from openapi.json against the real server, by schemathesis with all its checks
// and a fixed seed: what is documented is what is answered.
//
//   CONCLAVE_BINARY=target/debug/conclave node e2e/contract.mjs [options of schemathesis]

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { HERE, OUT, ROOT } from './lib/base.mjs';
import { startServer } from './lib/server.mjs';

const SCHEMATHESIS = process.env.SCHEMATHESIS ?? path.join(ROOT, '.venv/bin/schemathesis');
/** Every right of a key, from the contract itself. */
const SCOPES = JSON.parse(fs.readFileSync(path.join(ROOT, 'sdk-spec/openapi.json'), 'utf8'))
  .components.schemas.Scope.enum.join(',');
/** Examples of each operation: as many as fit into some minutes. */
const EXAMPLES = '12';
const SEED = '20261121';
/** Below the rate of a key. */
const RATE = '45/s';

const server = await startServer('contract', { scopes: SCOPES, level: 'warn' });
let code = 1;
try {
  const headers = ['-H', `Authorization: Bearer ${server.key}`];
  const run = spawn(SCHEMATHESIS, [
    '--config-file', path.join(HERE, 'contract.toml'), 'run', `${server.origin}/openapi.json`, ...headers, '--checks', 'all', '--seed', SEED,
    '--max-examples', EXAMPLES, '--rate-limit', RATE, '--generation-database', 'none',
    '--exclude-path-regex', '^/operator/',
    '--request-timeout', '20', '--no-color', ...process.argv.slice(2),
  ], { stdio: 'inherit', cwd: OUT, env: { ...process.env, SCHEMATHESIS_HOOKS: 'contract_hooks', PYTHONPATH: path.join(HERE, 'py') } });
  [code] = await once(run, 'exit');
} finally {
  const ended = await server.stop();
  if (ended !== 0) {
    console.error(`the server ended with ${ended}; see ${server.log}`);
    code = 1;
  }
}
process.exit(code ?? 1);
