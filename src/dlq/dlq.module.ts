import { Module } from '@nestjs/common';
import { DlqController } from './dlq.controller.js';
import { DlqService } from './dlq.service.js';

/** Dead letters: list, look at, retry, discard. */
@Module({ controllers: [DlqController], providers: [DlqService] })
export class DlqModule {}
