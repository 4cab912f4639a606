// The layers of docs/architecture.md as a failing check: imports point down only.
const layers = [
  ['domain'],
  ['config'],
  ['persistence', 'queue', 'observability'],
  ['http'],
  ['tenants', 'subscriptions', 'sources', 'ingestion', 'delivery', 'dlq', 'status', 'cleanup'],
];
const under = (folders) => `^src/(${folders.join('|')})/`;

const pointsUp = layers.slice(0, -1).map((folders, level) => ({
  name: `no-import-upwards-from-${folders.join('-')}`,
  severity: 'error',
  from: { path: under(folders) },
  to: {
    path: `${under(layers.slice(level + 1).flat())}|^src/(main|app\\.module)\\.ts|^src/(embedded|simulator)/`,
  },
}));

const features = layers.at(-1);

module.exports = {
  forbidden: [
    ...pointsUp,
    ...features.map((feature) => ({
      name: `${feature}-imports-no-other-feature`,
      comment: 'Features meet in repositories, the queue and the domain.',
      severity: 'error',
      from: { path: `^src/${feature}/` },
      to: { path: under(features.filter((other) => other !== feature)) },
    })),
    {
      name: 'domain-is-pure',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { path: 'node_modules/(@nestjs|typeorm|pg|bull|ioredis|fastify|undici)(/|$)' },
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
      comment: 'A practice subscriber shares nothing with the service but the domain.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/simulator/' },
      to: { path: '^src/simulator/' },
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
