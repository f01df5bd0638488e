package tests

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// What must also hold through a PgBouncer in transaction mode is run a second time here, and finds one before its database.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"ABreakerOpensAtItsThresholdAndOnlyThen":           TestABreakerOpensAtItsThresholdAndOnlyThen,
		"ABreakerOpensAtItsRatioOfEnoughCalls":             TestABreakerOpensAtItsRatioOfEnoughCalls,
		"OnlyTheErrorsThatCountOpenABreaker":               TestOnlyTheErrorsThatCountOpenABreaker,
		"AFailureOutsideOfTheWindowDoesNotCount":           TestAFailureOutsideOfTheWindowDoesNotCount,
		"ABreakerFollowsItsDependency":                     TestABreakerFollowsItsDependency,
		"HeldJobsComeBackInOrderAndAtTheRamp":              TestHeldJobsComeBackInOrderAndAtTheRamp,
		"AQueueIsHeldByItsOwnBreaker":                      TestAQueueIsHeldByItsOwnBreaker,
		"FiftyConnectionsTripAndProbeOnce":                 TestFiftyConnectionsTripAndProbeOnce,
		"AnotherSessionTakesOverFromOneThatDiesInHalfOpen": TestAnotherSessionTakesOverFromOneThatDiesInHalfOpen,
		"AProbeWhoseWorkerDiesIsReplaced":                  TestAProbeWhoseWorkerDiesIsReplaced,
		"AnOpenBreakerHoldsItsJobsOnceAndNotTheOthers":     TestAnOpenBreakerHoldsItsJobsOnceAndNotTheOthers,
		"AnOpenBreakerReroutesItsJobs":                     TestAnOpenBreakerReroutesItsJobs,
		"AnOpenBreakerCompletesItsJobs":                    TestAnOpenBreakerCompletesItsJobs,
		"AnOpenBreakerMarksItsJobsDegraded":                TestAnOpenBreakerMarksItsJobsDegraded,
		"AnOpenBreakerThrottlesItsJobs":                    TestAnOpenBreakerThrottlesItsJobs,
		"AnOpenBreakerPostponesItsJobs":                    TestAnOpenBreakerPostponesItsJobs,
		"SettingsOfABreakerThatAreRefused":                 TestSettingsOfABreakerThatAreRefused,
		"ABreakerCanBePinned":                              TestABreakerCanBePinned,
		"RESTABreakerFollowsItsDependencyByItself":         TestRESTABreakerFollowsItsDependencyByItself,
		"RESTABreakerIsChangedByHand":                      TestRESTABreakerIsChangedByHand,
		"AKeyOfOneRunsItsJobsOneAfterTheOther":             TestAKeyOfOneRunsItsJobsOneAfterTheOther,
		"AJobThatIsTriedAgainKeepsItsKey":                  TestAJobThatIsTriedAgainKeepsItsKey,
		"CancellingFreesTheKey":                            TestCancellingFreesTheKey,
		"AQueueHasSoManyInFlight":                          TestAQueueHasSoManyInFlight,
		"LimitsAreTurnedOnUnderWorkAndOffAgain":            TestLimitsAreTurnedOnUnderWorkAndOffAgain,
		"WhatWasEnqueuedByTheOldLimitsIsFound":             TestWhatWasEnqueuedByTheOldLimitsIsFound,
		"PriorityHoldsWithinALineAndAmongLines":            TestPriorityHoldsWithinALineAndAmongLines,
		"AnEditedJobStaysInItsLine":                        TestAnEditedJobStaysInItsLine,
		"TenantsShareByWeight":                             TestTenantsShareByWeight,
		"ATenantHasSoManyInFlight":                         TestATenantHasSoManyInFlight,
		"ARateIsATokenBucket":                              TestARateIsATokenBucket,
		"EditsOfLimitsAreRefusedWithTheField":              TestEditsOfLimitsAreRefusedWithTheField,
		"PassesWaitForEachOtherAndNobodyForThem":           TestPassesWaitForEachOtherAndNobodyForThem,
		"RESTAKeyOfOneHandsItsJobsOutInOrder":              TestRESTAKeyOfOneHandsItsJobsOutInOrder,
		"RESTLimitsAreSetAndRefused":                       TestRESTLimitsAreSetAndRefused,
		"RESTALimitIsNeverPassed":                          TestRESTALimitIsNeverPassed,
		"RESTARateHoldsOverTheNodes":                       TestRESTARateHoldsOverTheNodes,
	} {
		t.Run(name, test)
	}
}

func throughPgBouncer(t *testing.T) bool { return strings.HasPrefix(t.Name(), "TestThroughPgBouncer/") }

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
