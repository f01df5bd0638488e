package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What must also hold through a PgBouncer in transaction mode is run a second time here, and finds one before its database.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T){
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
		"OldSamplesAreSummedUpAndGoAfterAnHour":            TestOldSamplesAreSummedUpAndGoAfterAnHour,
		"WhatABreakerDidToAJobIsInItsTimeline":             TestWhatABreakerDidToAJobIsInItsTimeline,
		"WhatOneQueueHoldsDoesNotKeepAClaimFromTheOthers":  TestWhatOneQueueHoldsDoesNotKeepAClaimFromTheOthers,
		"APolicyEnds":                                      TestAPolicyEnds,
		"AQueueReroutesByItsOwnBreaker":                    TestAQueueReroutesByItsOwnBreaker,
		"ManyJobsOfAnOpenBreakerDoNotHideWhatIsBehindThem": TestManyJobsOfAnOpenBreakerDoNotHideWhatIsBehindThem,
		"AJobThatAlwaysFailsDoesNotKeepABreakerOpen":       TestAJobThatAlwaysFailsDoesNotKeepABreakerOpen,
		"NoJobIsLostInAStormAroundABreaker":                TestNoJobIsLostInAStormAroundABreaker,
		"ABreakerAndLimitsHoldAJobEachForItself":           TestABreakerAndLimitsHoldAJobEachForItself,
		"AQueueWithLimitsIsHeldByItsOwnBreaker":            TestAQueueWithLimitsIsHeldByItsOwnBreaker,
		"ABreakerReroutesIntoAQueueWithLimits":             TestABreakerReroutesIntoAQueueWithLimits,
		"RESTADegradedJobSaysSo":                           TestRESTADegradedJobSaysSo,
		"CLIBreakers":                                      TestCLIBreakers,
		"AnOpenBreakerLeavesRoomInAQueueWithLimits":        TestAnOpenBreakerLeavesRoomInAQueueWithLimits,
		"RESTEachComponentIsChecked":                       TestRESTEachComponentIsChecked,
		"RESTAnOpenBreakerLowersTheScore":                  TestRESTAnOpenBreakerLowersTheScore,
		"TheLastHundredChecksOfAComponentAreKept":          TestTheLastHundredChecksOfAComponentAreKept,
		"RESTSettingsOfABreakerAreRefusedWithTheField":     TestRESTSettingsOfABreakerAreRefusedWithTheField,
		"RESTLimitsOfNothingAndLessAreRefusedWithTheField": TestRESTLimitsOfNothingAndLessAreRefusedWithTheField,
		"CLILimits": TestCLILimits,
		"ChaosAnotherNodeTakesOverFromOneThatIsKilledWithABreakersLock": TestChaosAnotherNodeTakesOverFromOneThatIsKilledWithABreakersLock,
	}
	// Nothing about breakers, health and limits is left out, but for what is about the plans of a session.
	for _, pattern := range []string{"*breaker*_test.go", "*limit*_test.go", "health_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range regexp.MustCompile(`(?m)^func Test(\w+)\(t `).FindAllStringSubmatch(string(text), -1) {
				if tests[name[1]] == nil && !strings.HasPrefix(file, "sql_plan_") {
					t.Errorf("Test%s of %s is not run through PgBouncer", name[1], file)
				}
			}
		}
	}
	for name, test := range tests {
		t.Run(name, test)
	}
}
