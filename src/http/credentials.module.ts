import { Global, Module } from '@nestjs/common';
import { AuthFailureLimit } from './auth-failure-limit.js';
import { OperatorKeys } from './operator-keys.js';

/** What every place that takes a key shares. Global: the controller of /metrics is in a module of a library. */
@Global()
@Module({ providers: [AuthFailureLimit, OperatorKeys], exports: [AuthFailureLimit, OperatorKeys] })
export class CredentialsModule {}
