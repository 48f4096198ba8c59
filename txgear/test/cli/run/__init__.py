"""
Tests of the commands that submit jobs and work.
"""
