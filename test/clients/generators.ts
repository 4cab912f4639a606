import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ROOT } from '../support/markdown.js';

/** How a client is generated from `openapi.json`, compiled together with a program of `programs/`, and run. */
export interface Generator {
  name: string;
  /** What has to be on the PATH, with npm. */
  needs: string[];
  /** The program, and where it goes beside the generated code. */
  program: [from: string, to: string];
  /** Files that a project of the language begins with. */
  files?: Record<string, string>;
  /** What `generate` needs in a folder that has `openapi.json`. */
  install?: string[];
  /** As docs/api.md shows it. */
  generate: string;
  /** Compiles, or checks the types of, the program and all that was generated. */
  compile: string[];
  run: string;
}

const GO_MOD = 'module example.test/clients\n\ngo 1.24\n';
const PACKAGE_JSON = JSON.stringify({ type: 'module', private: true });

export const REDOCLY =
  'npx --yes @redocly/cli@2.77.0 lint --extends recommended --format stylish openapi.json';

export const GENERATORS: Generator[] = [
  {
    name: 'openapi-typescript',
    needs: [],
    program: ['typescript.ts', 'main.ts'],
    files: { 'package.json': PACKAGE_JSON },
    install: [
      'npm install --no-audit --no-fund openapi-typescript@7.13.0 openapi-fetch@0.17.0 typescript@5.9.3 @types/node@20.19.43',
    ],
    // Without the option what has a default may not be left out of a request.
    generate: 'npx openapi-typescript openapi.json --default-non-nullable false --output api.ts',
    compile: [
      'npx tsc --strict --exactOptionalPropertyTypes --module nodenext --target es2023 --types node main.ts api.ts',
    ],
    run: 'node main.js',
  },
  {
    name: 'openapi-python-client',
    needs: ['python3'],
    program: ['python.py', 'main.py'],
    install: [
      'python3 -m venv venv',
      'venv/bin/pip install --quiet openapi-python-client==0.29.1 mypy==2.4.1',
    ],
    generate:
      'venv/bin/openapi-python-client generate --path openapi.json --meta none --output-path posthorn_client --fail-on-warning',
    compile: [
      // All but client.py, which is the generator's own and the same for every API.
      'venv/bin/mypy --follow-imports silent posthorn_client/api posthorn_client/models main.py',
    ],
    run: 'venv/bin/python main.py',
  },
  {
    name: 'oapi-codegen',
    needs: ['go'],
    program: ['oapi-codegen.go', 'main.go'],
    files: { 'go.mod': GO_MOD, 'api/.keep': '' },
    generate:
      'go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -generate types,client -package api -o api/api.go openapi.json',
    compile: ['go mod tidy', 'go vet ./...'],
    run: 'go run .',
  },
  {
    name: 'ogen',
    needs: ['go'],
    program: ['ogen.go', 'main.go'],
    files: { 'go.mod': GO_MOD },
    generate:
      'go run github.com/ogen-go/ogen/cmd/ogen@v1.25.0 --target api --package api --clean openapi.json',
    compile: ['go mod tidy', 'go vet ./...'],
    run: 'go run .',
  },
];

/** An empty folder outside of the project with `openapi.json` in it; `remove` takes it away. */
export async function workFolder(
  files: Record<string, string> = {},
): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'posthorn-clients-'));
  await copyFile(join(ROOT, 'openapi.json'), join(path, 'openapi.json'));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), text);
  }
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export const copyProgram = ({ program: [from, to] }: Generator, folder: string): Promise<void> =>
  copyFile(join(import.meta.dirname, 'programs', from), join(folder, to));

/** @throws Error with all that the command wrote, when it fails */
export function run(command: string, cwd: string, env: Record<string, string> = {}): Promise<string> {
  const [program = '', ...args] = command.split(' ');
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => {
      if (code === 0) done(output);
      else fail(new Error(`${command} ended with ${String(code)}:\n${errors}${output}`));
    });
  });
}
