// The layers of docs/architecture.md as a failing check: imports point down only.
const layers = [
  ['domain'],
  ['config'],
  ['persistence', 'queue', 'observability', 'limits'],
  ['http', 'schedule'],
  [
    'tenants',
    'subscriptions',
    'sources',
    'ingestion',
    'delivery',
    'dlq',
    'status',
    'statistics',
    'audit',
    'cleanup',
  ],
];
const features = layers.at(-1);
const under = (folders) => `^src/(${folders.join('|')})/`;

module.exports = {
  forbidden: [
    ...layers.slice(0, -1).map((folders, level) => ({
      name: `no-import-upwards-from-${folders.join('-')}`,
      severity: 'error',
      from: { path: under(folders) },
      to: { path: under(layers.slice(level + 1).flat()) },
    })),
    ...features.map((feature) => ({
      name: `${feature}-imports-no-other-feature`,
      comment: 'Features meet in repositories, the queue and the domain.',
      severity: 'error',
      from: { path: `^src/${feature}/` },
      to: { path: under(features.filter((other) => other !== feature)) },
    })),
    {
      name: 'every-folder-has-a-layer',
      comment: 'A folder that is missing above would be held to nothing.',
      severity: 'error',
      from: { path: '^src/[^/]+/', pathNot: under([...layers.flat(), 'embedded', 'simulator']) },
      to: {},
    },
    {
      name: 'domain-is-pure',
      comment:
        'Rules that need nothing but the language: no folder but its own, and no package but one data structure.',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { pathNot: '^src/domain/|(^|/)node_modules/lru-cache/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'only-main-starts-the-service',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(main|contract|openapi)\\.ts$' },
      to: { path: '^src/(main|reencrypt|app\\.module|server|contract|openapi)\\.ts$' },
    },
    {
      name: 'migrations-belong-to-persistence',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/persistence/' },
      to: { path: '^migrations/' },
    },
    {
      name: 'migrations-stand-alone',
      comment: 'They have landed: what the service changes later must not change them.',
      severity: 'error',
      from: { path: '^migrations/' },
      to: { path: '^src/' },
    },
    {
      name: 'typeorm-stays-in-persistence',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/persistence/' },
      to: { path: 'node_modules/(typeorm|@nestjs/typeorm|pg)/' },
    },
    {
      name: 'bull-stays-in-queue',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/queue/|\\.processor\\.ts$' },
      to: { path: 'node_modules/(bull|@nestjs/bull|@nestjs/bull-shared|ioredis)/' },
    },
    {
      name: 'simulator-stands-alone',
      comment: 'A practice subscriber shares nothing with the service but the domain and the configuration.',
      severity: 'error',
      from: { path: '^src/simulator/' },
      to: { path: '^(src|migrations)/', pathNot: '^src/(simulator|domain|config)/' },
    },
    {
      name: 'simulator-is-not-the-service',
      comment: 'The service does not know its practice subscriber.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/simulator/' },
      to: { path: '^src/simulator/' },
    },
    {
      name: 'embedded-stands-alone',
      comment: 'A PostgreSQL for whoever starts one; it knows nothing of the service.',
      severity: 'error',
      from: { path: '^src/embedded/' },
      to: { path: '^(src|migrations)/', pathNot: '^src/embedded/' },
    },
    {
      name: 'embedded-is-for-start-up',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/((main|reencrypt|embedded-keys)\\.ts$|embedded/)' },
      to: { path: '^src/embedded/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-undeclared-packages',
      severity: 'error',
      from: { path: '^(src|migrations)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'unknown'] },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
