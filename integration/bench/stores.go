package main

import (
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/visibility/store"
	visibilitysql "go.temporal.io/server/common/persistence/visibility/store/sql"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/common/searchattribute"
)

// stores are Temporal's own, over one configuration, with connection pools of their own.
type stores struct {
	executions persistence.ExecutionManager
	shards     persistence.ShardManager
	tasks      persistence.TaskManager
	visibility store.VisibilityStore
	close      func()
}

func openStores(main, visibility config.SQL) (_ *stores, err error) {
	const transactionSizeLimit = 4 << 20
	logger := log.NewNoopLogger()
	serializer := serialization.NewSerializer()
	factory := persistencesql.NewFactory(main, resolver.NewNoopResolver(), "bench", logger, metrics.NoopMetricsHandler, serializer)
	s := &stores{close: factory.Close}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	executions, err := factory.NewExecutionStore()
	if err != nil {
		return nil, err
	}
	shards, err := factory.NewShardStore()
	if err != nil {
		return nil, err
	}
	tasks, err := factory.NewTaskStore()
	if err != nil {
		return nil, err
	}
	s.executions = persistence.NewExecutionManager(executions, serializer, nil, logger,
		dynamicconfig.GetIntPropertyFn(transactionSizeLimit), dynamicconfig.GetBoolPropertyFn(false))
	s.shards = persistence.NewShardManager(shards, serializer)
	s.tasks = persistence.NewTaskManager(tasks, serializer)
	s.visibility, err = visibilitysql.NewSQLVisibilityStore(visibility, resolver.NewNoopResolver(),
		searchattribute.NewTestProvider(), searchattribute.NewTestMapperProvider(nil), chasm.NewRegistry(logger),
		dynamicconfig.GetBoolPropertyFn(true), logger, metrics.NoopMetricsHandler, serializer)
	if err != nil {
		return nil, err
	}
	s.close = func() {
		s.visibility.Close()
		factory.Close()
	}
	return s, nil
}
